/*
 * What comes before and after a product of int8 rows and weights, in one pass over memory: numbers become bytes, and a
 * product gets the row's scale and offset and the layer's bias, and is numbers then, or bytes of their GELU for the next
 * product. A row's bytes stand for (byte - zero point) * scale + offset, from its lowest to its highest number.
 */
#include <math.h>

#include "parallel.h"

#define GRAIN 32           /* rows that are worth another thread */
#define MOST_NUMBERS 32768 /* of a row that becomes bytes, kept in fp32 on a thread's stack */
#define ZERO_POINT 128     /* the byte between the lowest and the highest number, which are 127 less and more */
#define GELU_ZERO_POINT 0  /* the lowest number's: most of GELU's are near it, so sums of bytes stay small */

typedef struct {
    const char *input;                 /* [rows, width] */
    const float *scales, *offsets;     /* [rows], of the bytes that `input` is a product of, or NULL */
    const float *sums;                 /* [width], of each output's weights; with `offsets` */
    const char *bias;                  /* [width], or NULL */
    char *output;                      /* [rows, width], or NULL where bytes are wanted */
    uint8_t *bytes;                    /* [rows, width] */
    float *byte_scales, *byte_offsets; /* [rows] */
    int64_t rows, width;
    int32_t is_gelu;                   /* of the numbers before they become bytes */
} Request;

#define ROWS "int8_rows_of.h"
#include "row_sets.h"
