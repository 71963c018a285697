// Stands in for a hypervisor that runs a guest which does nothing: answers what slicer-run asks, and ends when told to.
// By the name it is called by: firecracker, cloud-hypervisor (HTTP on a local socket) or qemu-system-* (QMP on a
// descriptor).
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char* value_of(int argc, char** argv, const char* name) {
  for (int i = 1; i + 1 < argc; ++i)
    if (strcmp(argv[i], name) == 0) return argv[i + 1];
  return "";
}

static void say(int fd, const char* text) {
  if (write(fd, text, strlen(text)) < 0) _exit(1);
}

static int listen_at(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, (const struct sockaddr*)&address, sizeof address) != 0 || listen(fd, 8) != 0) _exit(1);
  return fd;
}

static void serve(int listener, const char* state) {
  char request[4096];
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    const ssize_t count = read(fd, request, sizeof request - 1);
    request[count > 0 ? count : 0] = '\0';
    if (strncmp(request, "GET ", 4) == 0) {
      char answer[512];
      snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(state), state);
      say(fd, answer);
    } else {
      say(fd, "HTTP/1.1 204 No Content\r\n\r\n");
      _exit(0);
    }
    close(fd);
  }
}

static void serve_qmp(int fd) {
  char request[4096];
  say(fd, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
  for (;;) {
    const ssize_t count = read(fd, request, sizeof request - 1);
    if (count <= 0) _exit(1);
    request[count] = '\0';
    if (strstr(request, "\"execute\"") == NULL) continue;
    say(fd, "{\"return\": {}}\r\n");
    if (strstr(request, "quit") != NULL || strstr(request, "powerdown") != NULL) _exit(0);
  }
}

int main(int argc, char** argv) {
  const char* name = strrchr(argv[0], '/');
  name = name == NULL ? argv[0] : name + 1;
  const int firecracker = strcmp(name, "firecracker") == 0;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    puts(firecracker ? "Firecracker v1.16.0" : "cloud-hypervisor v53.0");
    return 0;
  }
  if (firecracker) serve(listen_at(value_of(argc, argv, "--api-sock")), "{\"state\":\"Running\"}");
  if (strcmp(name, "cloud-hypervisor") == 0) {
    const char* socket = value_of(argc, argv, "--api-socket");
    if (strncmp(socket, "fd=", 3) != 0) return 1;
    serve(atoi(socket + 3), "{\"state\":\"Running\"}");
  }
  for (int i = 1; i < argc; ++i) {
    const char* fd = strstr(argv[i], "fd=");
    if (strncmp(argv[i], "socket,id=control,", 18) == 0 && fd != NULL) serve_qmp(atoi(fd + 3));
  }
  return 1;
}
