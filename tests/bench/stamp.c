// Writes the time (CLOCK_MONOTONIC, nanoseconds) at which it was started.
//
//   stamp FILE PROGRAM ARGUMENT...   into FILE, and becomes the program
//   stamp ANYTHING                   into the file `time` of the folder that it is called from, and ends: it stands in
//   for
//                                    a hypervisor, whose arguments are another's
//   stamp --version                  what the hypervisor of its name would say
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char** argv) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const char* name = strrchr(argv[0], '/');
  if (argc == 2 && name != NULL && strcmp(argv[1], "--version") == 0) {
    puts(strcmp(name, "/firecracker") == 0 ? "Firecracker v1.16.0"
         : strcmp(name, "/jailer") == 0    ? "Jailer v1.16.0"
                                           : "cloud-hypervisor v53.0");
    return 0;
  }
  const int launcher = argc > 2 && name != NULL && strcmp(name, "/stamp") == 0;
  char path[4096];
  if (launcher || name == NULL) {
    snprintf(path, sizeof path, "%s", argv[1]);
  } else {
    snprintf(path, sizeof path, "%.*s/time", (int)(name - argv[0]), argv[0]);
  }
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return 1;
  dprintf(fd, "%lld\n", (long long)now.tv_sec * 1000000000 + now.tv_nsec);
  if (!launcher) return 0;
  execv(argv[2], argv + 2);
  return 127;
}
