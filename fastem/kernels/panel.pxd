from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from fastem.kernels.elementary cimport exp_nonpositive, log_positive
from fastem.kernels.shortlist cimport list_all, n_listed, note_active, spread
from fastem.kernels.vectors cimport real, vec, all_less, fill, lane_sum, lanes, load, load_rows, maximum, store, truncate, where_less, zero, n_vectors, prefetch, side_by_side, transpose, transpose_chosen

ctypedef void (*log_density_t)(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
ctypedef void (*accumulate_t)(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil

cdef void load_block(const real[:, :] X, Py_ssize_t start, Py_ssize_t n_rows, real[:, ::1] XT) noexcept nogil
cdef void gather_block(const real[:, :] X, const int[:] order, Py_ssize_t panel, Py_ssize_t start, Py_ssize_t n_rows, real[:, ::1] XT) noexcept nogil
cdef inline bint _by_tiles(const real[:, :] X, real[:, ::1] XT) noexcept nogil
cdef inline void _prefetch_chosen(const real[:, :] X, const int[:] order, Py_ssize_t panel, Py_ssize_t start, Py_ssize_t n_rows) noexcept nogil
cdef inline void _prefetch_rows(const real[:, :] X, Py_ssize_t start, Py_ssize_t n_rows) noexcept nogil
cdef inline void _repeat_last(Py_ssize_t n_rows, real[:, ::1] XT) noexcept nogil
cdef void load_weights(const double[:] sample_weight, Py_ssize_t start, Py_ssize_t n_rows, real[:, ::1] rows) noexcept nogil
cdef void gather_weights(const double[:] sample_weight, const int[:] order, Py_ssize_t panel, Py_ssize_t start, Py_ssize_t n_rows, real[:, ::1] rows) noexcept nogil
cdef void unit_weights(Py_ssize_t n_rows, real[:, ::1] rows) noexcept nogil
cdef void load_responsibilities(const real[:, :] given, Py_ssize_t start, Py_ssize_t n_rows, real[:, ::1] rows, real[:, ::1] log_p) noexcept nogil
cdef double posterior(real[:, ::1] log_p, Py_ssize_t n_rows, real[:, ::1] rows) noexcept nogil
cdef double _posterior(real[:, ::1] log_p, Py_ssize_t n_components, Py_ssize_t n_rows, real[:, ::1] rows) noexcept nogil
cdef inline void _normalise(real[:, ::1] log_p, Py_ssize_t n_components, Py_ssize_t b, real[:, ::1] rows) noexcept nogil
cdef void likeliest(real[:, ::1] log_p, Py_ssize_t n_rows, real[:, ::1] rows) noexcept nogil
cdef double accumulate_panel(log_density_t log_density, accumulate_t accumulate, const real[:, :] X, const double[:] sample_weight, const real[:, :] given, const int[:] order, Py_ssize_t start, Py_ssize_t stop, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] XT, real[:, ::1] log_p, real[:, ::1] rows, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef void evaluate_panel(log_density_t log_density, const real[:, :] X, Py_ssize_t start, Py_ssize_t stop, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] XT, real[:, ::1] log_p, real[:, ::1] rows, real[:, ::1] scratch, Py_ssize_t[::1] labels, real[::1] log_likelihood, real[:, ::1] responsibilities) noexcept nogil
