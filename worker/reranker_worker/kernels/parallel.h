/*
 * What the C code here has in common. It depends on nothing: the caller passes torch's parallel_for, so that torch's own
 * threads do the work, and calls of the functions for each precision those that the processor can run.
 */
#pragma once

#include <stdint.h>

/* torch_parallel_for of libtorch: calls `work` with parts of a range in several threads; other than 0 is a failure. */
typedef int32_t (*ParallelFor)(int64_t begin, int64_t end, int64_t grain, void (*work)(int64_t, int64_t, void *), void *);
