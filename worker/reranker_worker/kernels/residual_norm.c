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

#define ROWS "residual_norm_rows.h"
#include "row_sets.h"
