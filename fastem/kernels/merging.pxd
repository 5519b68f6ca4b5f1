cimport cython
from fastem.kernels.vectors cimport real, vec, all_less, broadcast, fill, lanes, load, natural_log, store, truncate, where_less, zero

cpdef void ward_pairs(real[:, ::1] centres, real[:, ::1] work, Py_ssize_t[:, ::1] numbers, Py_ssize_t[:, ::1] pairs, double[::1] costs) noexcept nogil
cdef Py_ssize_t _nearest(real[:, ::1] centres, Py_ssize_t a, Py_ssize_t before, Py_ssize_t left, real[:, ::1] work) noexcept nogil
cdef vec _squares(real[:, ::1] centres, Py_ssize_t a, Py_ssize_t b) noexcept nogil
cpdef void number_merges(const Py_ssize_t[::1] order, const Py_ssize_t[:, ::1] pairs, Py_ssize_t n_before, Py_ssize_t[::1] nodes, Py_ssize_t[:, ::1] merges) noexcept nogil
cpdef void cut_merges(const Py_ssize_t[:, ::1] merges, Py_ssize_t[::1] tops, Py_ssize_t[::1] places, Py_ssize_t[::1] labels, Py_ssize_t[::1] roots) noexcept nogil
cpdef void cluster_moments(const double[:, ::1] rows, const Py_ssize_t[::1] labels, const double[::1] weight, double[::1] masses, double[:, ::1] means, double[:, ::1] scatters) noexcept nogil
cpdef void gaussian_pairs(double[::1] masses, double[:, ::1] means, double[:, ::1] scatters, double[::1] prior, double prior_mass, double proportions, Py_ssize_t n_near, double[::1] costs, Py_ssize_t[::1] least, Py_ssize_t[:, ::1] near, double[:, ::1] rises, double[:, ::1] matrix, Py_ssize_t[:, ::1] pairs) noexcept nogil
cdef void _find_least(double[:, ::1] rises, Py_ssize_t i, Py_ssize_t[::1] least) noexcept nogil
@cython.locals(square=double)
cdef void _mark_neighbours(double[:, ::1] means, Py_ssize_t n_near, Py_ssize_t[:, ::1] near, Py_ssize_t[::1] nearest, double[::1] distances) noexcept nogil
cdef void _merge(double[::1] masses, double[:, ::1] means, double[:, ::1] scatters, Py_ssize_t i, Py_ssize_t j) noexcept nogil
cdef double _gaussian_cost(double[::1] masses, double[:, ::1] means, double[:, ::1] scatters, double[::1] prior, double prior_mass, double proportions, Py_ssize_t i, Py_ssize_t j, double[:, ::1] matrix) noexcept nogil
@cython.locals(total=double, product=double)
cdef double _log_determinant(double[:, ::1] matrix, double scale) noexcept nogil
