/*
 * Adds a residual to a layer's output and norms each row, in one pass over memory: torch takes three, and rounds between.
 */
#include <math.h>

#include "parallel.h"

#define MOST_NUMBERS 8192 /* of a row, kept in fp32 on a thread's stack */
#define GRAIN 32          /* rows that are worth another thread */

typedef struct {
    const char *states, *residual; /* [rows, width], as is `output` */
    const char *weight, *bias;     /* [width] */
    char *output;
    int64_t rows, width;
    float eps;
} Request;

#if defined(__x86_64__)

#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#include "residual_norm_rows.h"

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl")))
#define LANES 16
#include "residual_norm_rows.h"

#else

#define SET plain
#define TARGET
#define LANES 4
#include "residual_norm_rows.h"

#endif
