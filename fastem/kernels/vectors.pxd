cimport cython

cdef extern from "vectors.h" nogil:
    ctypedef double real "fastem_real"
    ctypedef double vec "fastem_vec"
    const Py_ssize_t FASTEM_LANES
    const Py_ssize_t FASTEM_F
    const bint FASTEM_IS_DOUBLE
    const bint FASTEM_WIDE
    vec fastem_load(const real *)
    void fastem_store(real *, vec)
    void fastem_prefetch(const real *)
    void fastem_prefetch_near(const void *)
    vec fastem_load_rows(const real *, Py_ssize_t)
    void fastem_transpose_rows(const real *, Py_ssize_t, real *, Py_ssize_t)
    void fastem_transpose_chosen(const real *, Py_ssize_t, const int *, Py_ssize_t, real *, Py_ssize_t)
    vec fastem_zero()
    void fastem_add_lane_sums(double *, vec, vec, vec, vec)
    void fastem_add_lanes(double *, vec)
    vec fastem_splat(real)
    real lane_sum "fastem_lane_sum"(vec)
    vec in_register "fastem_in_register"(vec)
    vec maximum "fastem_maximum"(vec, vec)
    bint all_less "fastem_all_less"(vec, vec)
    vec where_less "fastem_where_less"(vec, vec, vec, vec)
    vec scale_exponent "fastem_scale_exponent"(vec, vec)
    vec exponent "fastem_exponent"(vec)
    vec mantissa "fastem_mantissa"(vec)
    double square_root "sqrt"(double)
    double natural_log "log"(double)
    double exponential "exp"(double)
    int fastem_cpu_level()
    Py_ssize_t fastem_take(Py_ssize_t *)
    void fastem_check(Py_ssize_t row, Py_ssize_t column, Py_ssize_t n_rows, Py_ssize_t n_columns)

cdef inline Py_ssize_t lanes(real[:, ::1] array) noexcept nogil:
    return FASTEM_LANES

cdef inline Py_ssize_t n_vectors(real[:, ::1] array, Py_ssize_t n_rows) noexcept nogil:
    return (n_rows + 2 * FASTEM_LANES - 1) // (2 * FASTEM_LANES) * 2

cdef inline bint wide(real[:, ::1] array) noexcept nogil:
    return FASTEM_WIDE

cdef inline bint is_double(vec vector) noexcept nogil:
    return FASTEM_IS_DOUBLE

# Cython's own check cannot return a vector; where the build asks for checks, ``fastem_check`` looks at all lanes.
cdef inline vec load(real[:, ::1] array, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    fastem_check(row, column, array.shape[0], array.shape[1])
    with cython.boundscheck(False):
        return fastem_load(&array[row, column])

cdef inline void store(real[:, ::1] array, Py_ssize_t row, Py_ssize_t column, vec vector) noexcept nogil:
    fastem_check(row, column, array.shape[0], array.shape[1])
    with cython.boundscheck(False):
        fastem_store(&array[row, column], vector)

cdef inline void add_lane_sums(double[:, ::1] S, Py_ssize_t row, Py_ssize_t column, vec a, vec b, vec c, vec d) noexcept nogil:
    fastem_check(row, column, S.shape[0], S.shape[1] - 3 + FASTEM_LANES - 1)
    with cython.boundscheck(False):
        fastem_add_lane_sums(&S[row, column], a, b, c, d)

cdef inline void add_lanes(double[:, ::1] S, Py_ssize_t row, Py_ssize_t column, vec a) noexcept nogil:
    fastem_check(row, column, S.shape[0], S.shape[1])
    with cython.boundscheck(False):
        fastem_add_lanes(&S[row, column], a)

cdef inline void prefetch(const real[:, :] array, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    fastem_prefetch(&array[row, column])

cdef inline void prefetch_near(real[:, ::1] array, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    fastem_prefetch_near(&array[row, column])

cdef inline void prefetch_sums(double[:, ::1] S, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    fastem_prefetch_near(&S[row, column])

cdef inline bint side_by_side(const real[:, :] array) noexcept nogil:
    return array.strides[1] == <Py_ssize_t> sizeof(real)

cdef inline vec load_rows(const real[:, :] X, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    return fastem_load_rows(&X[row, column], X.strides[0])

cdef inline void transpose(const real[:, :] X, Py_ssize_t row, Py_ssize_t column, real[:, ::1] XT, Py_ssize_t b) noexcept nogil:
    fastem_check(column + FASTEM_F - 1, b, XT.shape[0], XT.shape[1])
    fastem_transpose_rows(&X[row, column], X.strides[0], &XT[column, b], XT.shape[1])

cdef inline void transpose_chosen(const real[:, :] X, const int[:] order, Py_ssize_t panel, Py_ssize_t start, Py_ssize_t column, real[:, ::1] XT, Py_ssize_t b) noexcept nogil:
    fastem_check(column + FASTEM_F - 1, b, XT.shape[0], XT.shape[1])
    fastem_transpose_chosen(&X[panel, column], X.strides[0], &order[start], order.strides[0], &XT[column, b], XT.shape[1])

cdef inline vec broadcast(real[:, ::1] array, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    return fastem_splat(array[row, column])

cdef inline vec zero(real[:, ::1] array) noexcept nogil:
    return fastem_zero()

cdef inline vec fill(vec like, double value) noexcept nogil:
    return fastem_splat(<real> value)

cdef inline Py_ssize_t truncate(real value) noexcept nogil:
    return <Py_ssize_t> value
