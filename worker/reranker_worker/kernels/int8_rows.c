/*
 * What comes before and after a product of int8 rows and weights, in one pass over memory: numbers become bytes, and a
 * product gets the row's scale and the layer's bias, and is numbers then, or bytes of their GELU for the next product.
 */
#include "parallel.h"

#define GRAIN 32           /* rows that are worth another thread */
#define MOST_NUMBERS 32768 /* of a row that becomes bytes, kept in fp32 on a thread's stack */
#define ZERO_POINT 128     /* the byte that stands for 0, and the largest number is 127 more or less */
#define LARGEST 127

typedef struct {
    const char *input;   /* [rows, width] */
    const float *scales; /* [rows], or NULL for ones */
    const char *bias;    /* [width], or NULL */
    char *output;        /* [rows, width], or NULL where bytes are wanted */
    uint8_t *bytes;      /* [rows, width] */
    float *byte_scales;  /* [rows] */
    int64_t rows, width;
    int32_t is_gelu; /* of the numbers before they become bytes */
} Request;

#if defined(__x86_64__)

#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#include "int8_rows_of.h"

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl")))
#define LANES 16
#include "int8_rows_of.h"

#else

#define SET plain
#define TARGET
#define LANES 4
#include "int8_rows_of.h"

#endif
