from fastem.kernels.vectors cimport real, vec, broadcast, fill, lanes, load, maximum, n_vectors, store, where_less, zero
from fastem.kernels.whitening cimport whiten

cdef void screen(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef vec _bounds(Py_ssize_t n_features, real[:, ::1] theta, Py_ssize_t k, vec square, vec room, Py_ssize_t b, real[:, ::1] log_p) noexcept nogil
cdef vec _threshold(vec best) noexcept nogil
