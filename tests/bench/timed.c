// Runs chains of programs and measures them; the benchmark's stopwatch. Small, so that starting a process from it costs
// what it costs any small runtime: posix_spawn(3) shares the parent's memory until exec.
//
// Requests on stdin, answers on stdout, integers in host order; strings end with a zero byte.
//   request: u32 flags, u32 workers, u32 chains, then for each chain: u32 steps, and for each step:
//            string program, u32 variables, strings NAME=VALUE, u32 length, the text for stdin
//   answer:  u64 nanoseconds, u32 failures, u64 peak memory of a program in KiB, u32 length, an output
// A step after the first gets its text, the output of the step before, and "}" (so a configuration that ends in
// `"prevResult":`); kKeepOutput off leaves stdin as it is. The output is the first failure's, else the last step's.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kAwaitOrphans = 1, kKeepOutput = 2, kMaxSteps = 4, kMaxVariables = 16, kMaxOutput = 65536 };

struct step {
  char* program;
  char* environment[kMaxVariables + 1];
  char* text;
  uint32_t length;
};

struct chain {
  uint32_t steps;
  struct step step[kMaxSteps];
};

struct outcome {
  uint32_t failures;
  uint64_t peak_kib;
  uint32_t length;
  char output[kMaxOutput];
};

static void die(const char* what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static void write_all(int fd, const void* bytes, size_t length) {
  for (const char* at = bytes; length > 0;) {
    const ssize_t done = write(fd, at, length);
    if (done < 0) return;  // the program did not want its input
    at += done;
    length -= (size_t)done;
  }
}

// One program to its end; its output in `out`. Returns 0 when it exited with 0.
static int run(const struct step* step, const char* before, uint32_t before_length, struct outcome* out) {
  int in[2];
  int answer[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0) die("pipe2");
  (void)fcntl(in[1], F_SETPIPE_SZ, 1 << 20);
  write_all(in[1], step->text, step->length);
  if (before != NULL) {
    write_all(in[1], before, before_length);
    write_all(in[1], "}", 1);
  }
  close(in[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, answer[1], 1);
  char* argv[] = {step->program, NULL};
  pid_t pid = 0;
  if (posix_spawn(&pid, step->program, &actions, NULL, argv, (char**)step->environment) != 0) die(step->program);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(answer[1]);
  out->length = 0;
  ssize_t got = 0;
  while (out->length < kMaxOutput && (got = read(answer[0], out->output + out->length, kMaxOutput - out->length)) > 0)
    out->length += (uint32_t)got;
  close(answer[0]);
  int status = 0;
  struct rusage usage;
  if (wait4(pid, &status, 0, &usage) != pid) die("wait4");
  if ((uint64_t)usage.ru_maxrss > out->peak_kib) out->peak_kib = (uint64_t)usage.ru_maxrss;
  return status;
}

static void run_chain(const struct chain* chain, uint32_t flags, struct outcome* out) {
  static char before[kMaxOutput];
  uint32_t before_length = 0;
  for (uint32_t i = 0; i < chain->steps; ++i) {
    const int chained = i > 0 && (flags & kKeepOutput) != 0;
    if (run(&chain->step[i], chained ? before : NULL, before_length, out) != 0) {
      ++out->failures;
      return;
    }
    memcpy(before, out->output, out->length);
    before_length = out->length;
  }
}

// Chains i, i + workers, i + 2 * workers…; the outcome lies in memory that the parent sees.
static void run_workers(const struct chain* chains, uint32_t count, uint32_t workers, uint32_t flags,
                        struct outcome* out) {
  struct outcome* shared =
      mmap(NULL, workers * sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) die("mmap");
  pid_t* pids = calloc(workers, sizeof(*pids));
  for (uint32_t w = 0; w < workers; ++w) {
    pids[w] = fork();
    if (pids[w] < 0) die("fork");
    if (pids[w] > 0) continue;
    struct outcome* own = calloc(1, sizeof(*own));
    for (uint32_t i = w; i < count; i += workers) {
      const uint32_t failures = own->failures;
      run_chain(&chains[i], flags, own);
      if (own->failures > failures && failures == 0) shared[w] = *own;
    }
    shared[w].failures = own->failures;
    shared[w].peak_kib = own->peak_kib;
    _exit(0);
  }
  for (uint32_t w = 0; w < workers; ++w) (void)waitpid(pids[w], NULL, 0);
  free(pids);
  for (uint32_t w = 0; w < workers; ++w) {
    if (shared[w].failures > 0 && out->failures == 0) {
      out->length = shared[w].length;
      memcpy(out->output, shared[w].output, shared[w].length);
    }
    out->failures += shared[w].failures;
    if (shared[w].peak_kib > out->peak_kib) out->peak_kib = shared[w].peak_kib;
  }
  munmap(shared, workers * sizeof(*shared));
}

static void read_exactly(void* to, size_t length) {
  if (length > 0 && fread(to, length, 1, stdin) != 1) exit(0);  // the benchmark is done
}

static uint32_t read_u32(void) {
  uint32_t value = 0;
  read_exactly(&value, sizeof(value));
  return value;
}

static char* read_string(void) {
  char* text = NULL;
  size_t size = 0;
  if (getdelim(&text, &size, 0, stdin) < 0) exit(0);
  return text;
}

static void read_step(struct step* step) {
  step->program = read_string();
  const uint32_t variables = read_u32();
  if (variables > kMaxVariables) die("too many variables");
  for (uint32_t v = 0; v < variables; ++v) step->environment[v] = read_string();
  step->length = read_u32();
  step->text = malloc(step->length + 1U);
  read_exactly(step->text, step->length);
}

static void free_chain(struct chain* chain) {
  for (uint32_t s = 0; s < chain->steps; ++s) {
    free(chain->step[s].program);
    free(chain->step[s].text);
    for (char** variable = chain->step[s].environment; *variable != NULL; ++variable) free(*variable);
  }
}

int main(void) {
  static struct outcome out;
  // A plugin may leave a child that waits for the kernel: it becomes ours, so that we can wait for it too.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) die("prctl");
  for (;;) {
    const uint32_t flags = read_u32();
    const uint32_t workers = read_u32();
    const uint32_t count = read_u32();
    struct chain* chains = calloc(count, sizeof(*chains));
    for (uint32_t i = 0; i < count; ++i) {
      chains[i].steps = read_u32();
      if (chains[i].steps > kMaxSteps) die("too many steps");
      for (uint32_t s = 0; s < chains[i].steps; ++s) read_step(&chains[i].step[s]);
    }
    memset(&out, 0, sizeof(out));
    const uint64_t start = now_ns();
    if (workers <= 1)
      for (uint32_t i = 0; i < count; ++i) run_chain(&chains[i], flags, &out);
    else
      run_workers(chains, count, workers, flags, &out);
    if ((flags & kAwaitOrphans) != 0)
      while (waitpid(-1, NULL, 0) > 0) {
      }
    const uint64_t elapsed = now_ns() - start;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    (void)fwrite(&elapsed, sizeof(elapsed), 1, stdout);
    (void)fwrite(&out.failures, sizeof(out.failures), 1, stdout);
    (void)fwrite(&out.peak_kib, sizeof(out.peak_kib), 1, stdout);
    (void)fwrite(&out.length, sizeof(out.length), 1, stdout);
    (void)fwrite(out.output, 1, out.length, stdout);
    (void)fflush(stdout);
    for (uint32_t i = 0; i < count; ++i) free_chain(&chains[i]);
    free(chains);
  }
}
