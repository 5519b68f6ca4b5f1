/* The vector type of the kernels for C compilers: GCC's and Clang's vector extensions, or one value at a time.

   FASTEM_REAL (double or float) is set by the build, which compiles the kernels once for each. */
#ifndef FASTEM_VECTORS_H
#define FASTEM_VECTORS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_MSC_VER)
#include <intrin.h>
#endif

typedef FASTEM_REAL fastem_real;

#define FASTEM_IS_DOUBLE (sizeof(fastem_real) == 8)
/* The size as the preprocessor knows it. */
#define FASTEM_SIZE_OF_double 8
#define FASTEM_SIZE_OF_float 4
#define FASTEM_SIZE_OF(type) FASTEM_SIZE_OF_(type)
#define FASTEM_SIZE_OF_(type) FASTEM_SIZE_OF_##type

/* FASTEM_NO_VECTORS tries what other compilers take. */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(FASTEM_NO_VECTORS)

#if defined(__AVX__)
#include <immintrin.h>
#endif
#if defined(FASTEM_VECTOR_BYTES)
#elif defined(__AVX512F__)
#define FASTEM_VECTOR_BYTES 64
#elif defined(__AVX__)
#define FASTEM_VECTOR_BYTES 32
#else
#define FASTEM_VECTOR_BYTES 16
#endif
#define FASTEM_N (FASTEM_VECTOR_BYTES / FASTEM_SIZE_OF(FASTEM_REAL))
#define FASTEM_LANES ((Py_ssize_t)FASTEM_N)
/* 32 vector registers, and not 16. */
#if FASTEM_VECTOR_BYTES == 64 || defined(__aarch64__)
#define FASTEM_WIDE 1
#else
#define FASTEM_WIDE 0
#endif

typedef fastem_real fastem_vec __attribute__((vector_size(FASTEM_VECTOR_BYTES)));
typedef fastem_real fastem_vec_unaligned
    __attribute__((vector_size(FASTEM_VECTOR_BYTES), aligned(sizeof(fastem_real)), may_alias));
typedef int64_t fastem_bits64 __attribute__((vector_size(FASTEM_VECTOR_BYTES)));
typedef int32_t fastem_bits32 __attribute__((vector_size(FASTEM_VECTOR_BYTES)));

static inline fastem_vec fastem_load(const fastem_real *p) { return *(const fastem_vec_unaligned *)p; }
static inline void fastem_store(fastem_real *p, fastem_vec v) { *(fastem_vec_unaligned *)p = v; }
/* GCC reads a value from memory as often as it is used, as if that took no time. */
static inline fastem_vec fastem_in_register(fastem_vec v) {
#if defined(__AVX512F__) && FASTEM_VECTOR_BYTES == 64
  __asm__("" : "+v"(v));
#endif
  return v;
}
static inline fastem_vec fastem_zero(void) { return (fastem_vec){0}; }
static inline fastem_vec fastem_splat(fastem_real x) { return x - (fastem_vec){0}; }

/* Sums over lanes add halves to halves, in the order that the Numba engine takes too. Parts are taken by unions and
   shuffles: an address taken for memcpy keeps an accumulator in memory over the whole loop. */
typedef fastem_real fastem_sixteen __attribute__((vector_size(16)));
static inline fastem_sixteen fastem_fold(fastem_vec v) {
#if FASTEM_VECTOR_BYTES == 16
  return v;
#else
  typedef fastem_real half __attribute__((vector_size(FASTEM_VECTOR_BYTES / 2)));
  union {
    fastem_vec whole;
    half part[2];
  } halves = {v};
  half sum = halves.part[0] + halves.part[1];
#if FASTEM_VECTOR_BYTES == 32
  return sum;
#else
  union {
    half whole;
    fastem_sixteen part[2];
  } quarters = {sum};
  return quarters.part[0] + quarters.part[1];
#endif
#endif
}
/* Of the 16 bytes: a and b of two vectors whose lanes alternate. */
#if FASTEM_SIZE_OF(FASTEM_REAL) == 8
#define FASTEM_BITS fastem_bits64
#define FASTEM_FIRST(folded) folded[0]
#define FASTEM_SECOND(folded) folded[1]
#define FASTEM_LOW(g) 2 * g, FASTEM_N + 2 * g
#define FASTEM_HIGH(g) 2 * g + 1, FASTEM_N + 2 * g + 1
#else
#define FASTEM_BITS fastem_bits32
#define FASTEM_FIRST(folded) (folded[0] + folded[2])
#define FASTEM_SECOND(folded) (folded[1] + folded[3])
#define FASTEM_LOW(g) 4 * g, FASTEM_N + 4 * g, 4 * g + 1, FASTEM_N + 4 * g + 1
#define FASTEM_HIGH(g) 4 * g + 2, FASTEM_N + 4 * g + 2, 4 * g + 3, FASTEM_N + 4 * g + 3
#define FASTEM_LOW_PAIR(g) 4 * g, 4 * g + 1, FASTEM_N + 4 * g, FASTEM_N + 4 * g + 1
#define FASTEM_HIGH_PAIR(g) 4 * g + 2, 4 * g + 3, FASTEM_N + 4 * g + 2, FASTEM_N + 4 * g + 3
#endif
#if FASTEM_VECTOR_BYTES == 16
#define FASTEM_EACH(of) of(0)
#elif FASTEM_VECTOR_BYTES == 32
#define FASTEM_EACH(of) of(0), of(1)
#else
#define FASTEM_EACH(of) of(0), of(1), of(2), of(3)
#endif
/* Lanes of a and b in turn, from the lower or upper halves of their 16-byte groups: one instruction. */
#ifdef __clang__
#define FASTEM_UNPACK(a, b, of) __builtin_shufflevector(a, b, FASTEM_EACH(of))
#else
#define FASTEM_UNPACK(a, b, of) __builtin_shuffle(a, b, (FASTEM_BITS){FASTEM_EACH(of)})
#endif

/* Features of a tile that is transposed at once, and of its two groups of as many rows, which a vector holds side by
   side: half rows are put together on their way from memory, and a whole row would take a stage of shuffles more. */
#define FASTEM_F (FASTEM_N / 2)
#if FASTEM_VECTOR_BYTES / FASTEM_SIZE_OF(FASTEM_REAL) == 2
#define FASTEM_ALL(of) of(0), of(1)
#elif FASTEM_VECTOR_BYTES / FASTEM_SIZE_OF(FASTEM_REAL) == 4
#define FASTEM_ALL(of) of(0), of(1), of(2), of(3)
#elif FASTEM_VECTOR_BYTES / FASTEM_SIZE_OF(FASTEM_REAL) == 8
#define FASTEM_ALL(of) of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)
#else
#define FASTEM_ALL(of) \
  of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7), of(8), of(9), of(10), of(11), of(12), of(13), of(14), of(15)
#endif
/* Lanes of two vectors in turn, from the lower or upper halves of each group. */
#define FASTEM_LOWER(lane) ((lane) / FASTEM_F * FASTEM_F + (lane) % FASTEM_F / 2 + (lane) % 2 * FASTEM_N)
#define FASTEM_UPPER(lane) (FASTEM_LOWER(lane) + FASTEM_F / 2)
#ifdef __clang__
#define FASTEM_IN_TURN(a, b, of) __builtin_shufflevector(a, b, FASTEM_ALL(of))
#else
#define FASTEM_IN_TURN(a, b, of) __builtin_shuffle(a, b, (FASTEM_BITS){FASTEM_ALL(of)})
#endif
/* One value of each of FASTEM_N rows. */
static inline fastem_vec fastem_load_rows(const fastem_real *first, Py_ssize_t bytes) {
#define FASTEM_ROW(lane) *(const fastem_real *)((const char *)first + (lane) * bytes)
  fastem_vec vector = {FASTEM_ALL(FASTEM_ROW)};
  return vector;
}
/* FASTEM_F values from each of two places: one instruction after a load, where GCC would go through memory. */
static inline fastem_vec fastem_load_halves(const fastem_real *low, const fastem_real *high) {
#if FASTEM_VECTOR_BYTES == 64 && defined(__AVX512F__)
  const __m512d first = _mm512_castpd256_pd512(_mm256_loadu_pd((const double *)low));
  return (fastem_vec)_mm512_insertf64x4(first, _mm256_loadu_pd((const double *)high), 1);
#elif FASTEM_VECTOR_BYTES == 32 && defined(__AVX__)
  const __m256d first = _mm256_castpd128_pd256(_mm_loadu_pd((const double *)low));
  return (fastem_vec)_mm256_insertf128_pd(first, _mm_loadu_pd((const double *)high), 1);
#else
  typedef double eight __attribute__((aligned(sizeof(fastem_real)), may_alias));
  typedef double eights __attribute__((vector_size(FASTEM_VECTOR_BYTES)));
  eights both;
  for (int i = 0; i < FASTEM_VECTOR_BYTES / 16; i++) {
    both[i] = ((const eight *)low)[i];
    both[i + FASTEM_VECTOR_BYTES / 16] = ((const eight *)high)[i];
  }
  return (fastem_vec)both;
#endif
}
/* FASTEM_F values of each of FASTEM_N rows into FASTEM_F vectors, `step` apart. */
static inline void fastem_transpose(const fastem_real *const *rows, fastem_real *out, Py_ssize_t step) {
  fastem_vec tile[FASTEM_F], turned[FASTEM_F];
  for (int r = 0; r < FASTEM_F; r++) tile[r] = fastem_load_halves(rows[r], rows[r + FASTEM_F]);
  for (int stage = 1; stage < FASTEM_F; stage *= 2) {
    for (int r = 0; r < FASTEM_F / 2; r++) {
      turned[2 * r] = FASTEM_IN_TURN(tile[r], tile[r + FASTEM_F / 2], FASTEM_LOWER);
      turned[2 * r + 1] = FASTEM_IN_TURN(tile[r], tile[r + FASTEM_F / 2], FASTEM_UPPER);
    }
    for (int r = 0; r < FASTEM_F; r++) tile[r] = turned[r];
  }
  for (int r = 0; r < FASTEM_F; r++) fastem_store(out + r * step, tile[r]);
}

static inline fastem_real fastem_lane_sum(fastem_vec v) {
  fastem_sixteen folded = fastem_fold(v);
  return FASTEM_FIRST(folded) + FASTEM_SECOND(folded);
}
static inline void fastem_add_lane_sums(double *p, fastem_vec a, fastem_vec b, fastem_vec c, fastem_vec d) {
  typedef double four __attribute__((vector_size(32)));
  typedef double four_unaligned __attribute__((vector_size(32), aligned(8), may_alias));
  fastem_vec ab = FASTEM_UNPACK(a, b, FASTEM_LOW) + FASTEM_UNPACK(a, b, FASTEM_HIGH);
  fastem_vec cd = FASTEM_UNPACK(c, d, FASTEM_LOW) + FASTEM_UNPACK(c, d, FASTEM_HIGH);
#if FASTEM_SIZE_OF(FASTEM_REAL) == 8
  fastem_sixteen first = fastem_fold(ab), second = fastem_fold(cd);
  *(four_unaligned *)p += (four){first[0], first[1], second[0], second[1]};
#else
  /* Each 16 bytes hold a sum of all four. */
  *(four_unaligned *)p += __builtin_convertvector(
      fastem_fold(FASTEM_UNPACK(ab, cd, FASTEM_LOW_PAIR) + FASTEM_UNPACK(ab, cd, FASTEM_HIGH_PAIR)), four);
#endif
}

static inline void fastem_add_lanes(double *p, fastem_vec v) {
#if FASTEM_SIZE_OF(FASTEM_REAL) == 8
  *(fastem_vec_unaligned *)p += v;
#else
  typedef fastem_real half __attribute__((vector_size(FASTEM_VECTOR_BYTES / 2)));
  typedef double doubles __attribute__((vector_size(FASTEM_VECTOR_BYTES)));
  typedef double doubles_unaligned __attribute__((vector_size(FASTEM_VECTOR_BYTES), aligned(8), may_alias));
  union {
    fastem_vec whole;
    half part[2];
  } halves = {v};
  ((doubles_unaligned *)p)[0] += __builtin_convertvector(halves.part[0], doubles);
  ((doubles_unaligned *)p)[1] += __builtin_convertvector(halves.part[1], doubles);
#endif
}
static inline fastem_vec fastem_where_less(fastem_vec a, fastem_vec b, fastem_vec then, fastem_vec otherwise) {
  fastem_bits64 mask = (fastem_bits64)(a < b);
  return (fastem_vec)(((fastem_bits64)then & mask) | ((fastem_bits64)otherwise & ~mask));
}
/* One instruction and a test; from the lanes, GCC would go through memory. */
static inline int fastem_all_less(fastem_vec a, fastem_vec b) {
#if defined(__AVX512F__) && FASTEM_SIZE_OF(FASTEM_REAL) == 8
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ) == 0xff;
#elif defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ) == 0xffff;
#elif defined(__AVX__) && FASTEM_SIZE_OF(FASTEM_REAL) == 8
  return _mm256_movemask_pd((__m256d)(a < b)) == 0xf;
#elif defined(__AVX__)
  return _mm256_movemask_ps((__m256)(a < b)) == 0xff;
#else
  FASTEM_BITS less = (FASTEM_BITS)(a < b);
  int all = 1;
  for (int i = 0; i < FASTEM_N; i++) all &= less[i] != 0;
  return all;
#endif
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
#define FASTEM_N 1
#define FASTEM_F 1
#define FASTEM_WIDE 0
typedef fastem_real fastem_vec;
static inline fastem_vec fastem_load(const fastem_real *p) { return *p; }
static inline void fastem_store(fastem_real *p, fastem_vec v) { *p = v; }
static inline fastem_vec fastem_in_register(fastem_vec v) { return v; }
static inline fastem_vec fastem_zero(void) { return 0; }
static inline fastem_vec fastem_splat(fastem_real x) { return x; }
static inline fastem_vec fastem_load_rows(const fastem_real *first, Py_ssize_t bytes) {
  (void)bytes;
  return *first;
}
static inline void fastem_transpose(const fastem_real *const *rows, fastem_real *out, Py_ssize_t step) {
  (void)step;
  *out = *rows[0];
}
static inline fastem_real fastem_lane_sum(fastem_vec v) { return v; }
static inline void fastem_add_lane_sums(double *p, fastem_vec a, fastem_vec b, fastem_vec c, fastem_vec d) {
  p[0] += a, p[1] += b, p[2] += c, p[3] += d;
}
static inline void fastem_add_lanes(double *p, fastem_vec v) { *p += v; }
static inline fastem_vec fastem_where_less(fastem_vec a, fastem_vec b, fastem_vec then, fastem_vec otherwise) {
  return a < b ? then : otherwise;
}
static inline int fastem_all_less(fastem_vec a, fastem_vec b) { return a < b; }
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

/* From a matrix whose rows are `bytes` apart: consecutive rows, or those that `order` says. */
static inline void fastem_transpose_rows(const fastem_real *first, Py_ssize_t bytes, fastem_real *out,
                                         Py_ssize_t step) {
  const fastem_real *rows[FASTEM_N];
  for (int r = 0; r < FASTEM_N; r++) rows[r] = (const fastem_real *)((const char *)first + r * bytes);
  fastem_transpose(rows, out, step);
}
static inline void fastem_transpose_chosen(const fastem_real *first, Py_ssize_t bytes, const int *order,
                                           Py_ssize_t order_bytes, fastem_real *out, Py_ssize_t step) {
  const fastem_real *rows[FASTEM_N];
  for (int r = 0; r < FASTEM_N; r++)
    rows[r] = (const fastem_real *)((const char *)first + *(const int *)((const char *)order + r * order_bytes) * bytes);
  fastem_transpose(rows, out, step);
}

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

/* Into the second cache: the first is full of the block at hand. */
static inline void fastem_prefetch(const fastem_real *p) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(p, 0, 2);
#else
  (void)p;
#endif
}

/* Into the first. */
static inline void fastem_prefetch_near(const void *p) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(p, 0, 3);
#else
  (void)p;
#endif
}

/* The next number of a counter that several threads share. */
static inline Py_ssize_t fastem_take(Py_ssize_t *counter) {
#if defined(_MSC_VER)
#if defined(_WIN64)
  return (Py_ssize_t)_InterlockedExchangeAdd64((volatile __int64 *)counter, 1);
#else
  return (Py_ssize_t)_InterlockedExchangeAdd((volatile long *)counter, 1);
#endif
#else
  return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
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
