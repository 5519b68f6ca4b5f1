from fastem.kernels.vectors cimport real, vec, add_lane_sums, add_lanes, all_less, broadcast, fill, is_double, lane_sum, lanes, load, n_vectors, prefetch_near, prefetch_sums, square_root, store, truncate, where_less, wide, zero

cdef inline Py_ssize_t few_features(bint is_wide) noexcept nogil
cdef Py_ssize_t outermost_vector(Py_ssize_t n_rows, real[:, ::1] r, Py_ssize_t k, Py_ssize_t start, Py_ssize_t step) noexcept nogil
cdef bint is_dense(Py_ssize_t first, Py_ssize_t end, real[:, ::1] r, Py_ssize_t k) noexcept nogil
cdef inline vec _least(real[:, ::1] array) noexcept nogil
cdef void scatter_vectors(real[:, ::1] XT, Py_ssize_t first, Py_ssize_t end, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t k, double[:, ::1] S) noexcept nogil
cdef inline void _square(real[:, ::1] XT, Py_ssize_t first, Py_ssize_t end, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, double[:, ::1] S) noexcept nogil
cdef inline void _rectangle(real[:, ::1] XT, Py_ssize_t first, Py_ssize_t end, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, Py_ssize_t j, double[:, ::1] S) noexcept nogil
cdef inline void _add_sums(Py_ssize_t n_features, Py_ssize_t k, Py_ssize_t start, Py_ssize_t j, vec a, vec b, vec c, vec d, double[:, ::1] S) noexcept nogil
cdef inline Py_ssize_t _panel_width(real[:, ::1] array) noexcept nogil
cdef void rows_to_panels(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] scratch) noexcept nogil
cdef void scatter_panels(Py_ssize_t n_features, Py_ssize_t block, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t k, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline Py_ssize_t _choose_rows(Py_ssize_t n_rows, Py_ssize_t panel, real[:, ::1] r, Py_ssize_t k, Py_ssize_t chosen, real[:, ::1] scratch) noexcept nogil
cdef inline Py_ssize_t _vector_at(Py_ssize_t v, Py_ssize_t panel, Py_ssize_t block, real[:, ::1] scratch) noexcept nogil
cdef inline void _add_first(Py_ssize_t n, Py_ssize_t panel, Py_ssize_t at, Py_ssize_t roots, Py_ssize_t n_features, Py_ssize_t k, Py_ssize_t j, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline void _tile_8x2(Py_ssize_t n, Py_ssize_t panel, Py_ssize_t at_r, Py_ssize_t at_x, Py_ssize_t at_y, Py_ssize_t n_features, Py_ssize_t k, Py_ssize_t i, Py_ssize_t j, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline void _prefetch_sums(Py_ssize_t n_features, Py_ssize_t k, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n_columns, double[:, ::1] S) noexcept nogil
cdef inline void _tile_8x1(Py_ssize_t n, Py_ssize_t panel, Py_ssize_t at_r, Py_ssize_t at_x, Py_ssize_t n_features, Py_ssize_t k, Py_ssize_t i, Py_ssize_t j, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline void _add_eight(Py_ssize_t n_features, Py_ssize_t k, Py_ssize_t i, Py_ssize_t j, vec a, vec b, vec c, vec d, vec e, vec f, vec g, vec h, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline void _add_lanes(Py_ssize_t n_features, Py_ssize_t k, Py_ssize_t start, Py_ssize_t j, vec values, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
