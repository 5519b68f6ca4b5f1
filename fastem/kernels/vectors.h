/* The vector type of the kernels for C compilers: GCC's and Clang's vector extensions, or one value at a time.

   FASTEM_REAL (double or float) is set by the build, which compiles the kernels once for each. */
#ifndef FASTEM_VECTORS_H
#define FASTEM_VECTORS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef FASTEM_REAL fastem_real;

#define FASTEM_IS_DOUBLE (sizeof(fastem_real) == 8)

#if defined(__GNUC__) || defined(__clang__)

#if defined(FASTEM_VECTOR_BYTES)
#elif defined(__AVX512F__)
#define FASTEM_VECTOR_BYTES 64
#elif defined(__AVX__)
#define FASTEM_VECTOR_BYTES 32
#else
#define FASTEM_VECTOR_BYTES 16
#endif
#define FASTEM_LANES ((Py_ssize_t)(FASTEM_VECTOR_BYTES / sizeof(fastem_real)))

typedef fastem_real fastem_vec __attribute__((vector_size(FASTEM_VECTOR_BYTES)));
typedef fastem_real fastem_vec_unaligned
    __attribute__((vector_size(FASTEM_VECTOR_BYTES), aligned(sizeof(fastem_real)), may_alias));
typedef int64_t fastem_bits64 __attribute__((vector_size(FASTEM_VECTOR_BYTES)));
typedef int32_t fastem_bits32 __attribute__((vector_size(FASTEM_VECTOR_BYTES)));

static inline fastem_vec fastem_load(const fastem_real *p) { return *(const fastem_vec_unaligned *)p; }
static inline void fastem_store(fastem_real *p, fastem_vec v) { *(fastem_vec_unaligned *)p = v; }
static inline fastem_vec fastem_zero(void) { return (fastem_vec){0}; }
static inline fastem_vec fastem_splat(fastem_real x) { return x - (fastem_vec){0}; }

/* Halves are added to halves: log2(lanes) additions, the order that LLVM takes too. */
typedef fastem_real fastem_half __attribute__((vector_size(FASTEM_VECTOR_BYTES / 2)));
static inline fastem_real fastem_lane_sum(fastem_vec v) {
  fastem_half low, high;
  memcpy(&low, &v, sizeof low);
  memcpy(&high, (const char *)&v + sizeof low, sizeof high);
  low += high;
#if FASTEM_VECTOR_BYTES == 64
  typedef fastem_real quarter __attribute__((vector_size(16)));
  quarter a, b;
  memcpy(&a, &low, 16);
  memcpy(&b, (const char *)&low + 16, 16);
  a += b;
#else
  fastem_half a = low;
#endif
  fastem_real sum = a[0];
  for (unsigned i = 1; i < sizeof a / sizeof(fastem_real); i++) sum += a[i];
  return sum;
}

static inline fastem_vec fastem_where_less(fastem_vec a, fastem_vec b, fastem_vec then, fastem_vec otherwise) {
  fastem_bits64 mask = (fastem_bits64)(a < b);
  return (fastem_vec)(((fastem_bits64)then & mask) | ((fastem_bits64)otherwise & ~mask));
}
static inline fastem_vec fastem_scale_exponent(fastem_vec value, fastem_vec shifted) {
  if (FASTEM_IS_DOUBLE) return (fastem_vec)((fastem_bits64)value + ((fastem_bits64)shifted << 52));
  return (fastem_vec)((fastem_bits32)value + ((fastem_bits32)shifted << 23));
}
/* The exponent's bits, put into the significand of a large number whose subtraction makes them a number. */
static inline fastem_vec fastem_exponent(fastem_vec x) {
  if (FASTEM_IS_DOUBLE)
    return (fastem_vec)(((fastem_bits64)x >> 52) | 0x4330000000000000) - fastem_splat((fastem_real)4503599627371519.0);
  return (fastem_vec)(((fastem_bits32)x >> 23) | 0x4B000000) - fastem_splat((fastem_real)8388735.0);
}
static inline fastem_vec fastem_mantissa(fastem_vec x) {
  if (FASTEM_IS_DOUBLE) return (fastem_vec)(((fastem_bits64)x & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000);
  return (fastem_vec)(((fastem_bits32)x & 0x007FFFFF) | 0x3F800000);
}

#else

#define FASTEM_LANES ((Py_ssize_t)1)
typedef fastem_real fastem_vec;
static inline fastem_vec fastem_load(const fastem_real *p) { return *p; }
static inline void fastem_store(fastem_real *p, fastem_vec v) { *p = v; }
static inline fastem_vec fastem_zero(void) { return 0; }
static inline fastem_vec fastem_splat(fastem_real x) { return x; }
static inline fastem_real fastem_lane_sum(fastem_vec v) { return v; }
static inline fastem_vec fastem_where_less(fastem_vec a, fastem_vec b, fastem_vec then, fastem_vec otherwise) {
  return a < b ? then : otherwise;
}
static inline fastem_vec fastem_scale_exponent(fastem_vec value, fastem_vec shifted) {
  double n = (double)shifted - (FASTEM_IS_DOUBLE ? 6755399441055744.0 : 12582912.0);
  return (fastem_real)ldexp((double)value, n > -2000 && n < 2000 ? (int)n : 0);
}
static inline fastem_vec fastem_exponent(fastem_vec x) {
  int e;
  frexp((double)x, &e);
  return (fastem_real)(e - 1);
}
static inline fastem_vec fastem_mantissa(fastem_vec x) {
  int e;
  return (fastem_real)(2 * frexp((double)x, &e));
}

#endif

static inline fastem_vec fastem_maximum(fastem_vec a, fastem_vec b) { return fastem_where_less(a, b, b, a); }

/* With FASTEM_BOUNDS_CHECK a vector outside of its array ends the process; without it there is no check. */
static inline void fastem_check(Py_ssize_t row, Py_ssize_t column, Py_ssize_t n_rows, Py_ssize_t n_columns) {
#ifdef FASTEM_BOUNDS_CHECK
  if (row < 0 || row >= n_rows || column < 0 || column + FASTEM_LANES > n_columns) {
    fprintf(stderr, "fastem: vector [%zd, %zd:+%zd] is outside of shape (%zd, %zd)\n", row, column, FASTEM_LANES, n_rows,
            n_columns);
    abort();
  }
#else
  (void)row, (void)column, (void)n_rows, (void)n_columns;
#endif
}

/* The best level of x86-64 that this processor runs and the build provides: 1, 3 (AVX2, FMA) or 4 (AVX-512). */
static inline int fastem_cpu_level(void) {
#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
    return 4;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 3;
#endif
  return 1;
}

#endif
