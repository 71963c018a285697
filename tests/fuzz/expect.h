#pragma once
// What a fuzz target holds to be true of every input.

#include <cstdio>
#include <cstdlib>

// Stops the target with the condition, so that libFuzzer keeps the input.
#define EXPECT(condition)                                                                  \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      (void)std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)
