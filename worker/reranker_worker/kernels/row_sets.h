/* Compiles ROWS, a file of functions that pass over rows, for each instruction set that row_vectors.h is made for. */
#if defined(__x86_64__)

#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#include ROWS
#undef SET
#undef TARGET
#undef LANES

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl")))
#define LANES 16
#include ROWS

#else

#define SET plain
#define TARGET
#define LANES 4
#include ROWS

#endif
