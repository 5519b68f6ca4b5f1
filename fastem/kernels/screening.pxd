cimport cython
from fastem.kernels.shortlist cimport list_all, listed, n_listed, read_entry, set_listed, shortens, write_entry
from fastem.kernels.vectors cimport real, vec, broadcast, fill, lane_sum, lanes, load, maximum, n_vectors, square_root, store, where_less, zero
from fastem.kernels.whitening cimport whiten

cdef void screen(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
@cython.locals(size=double, radius=double, keep=double, room=double, best=double, square=double, off=double, near=double, far=double, lowest=double)
cdef void _list_near(Py_ssize_t n_strips, Py_ssize_t n_features, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
@cython.locals(a=double, b=double, c=double, d=double, mean=double)
cdef void _multiply_mean(Py_ssize_t n_features, real[:, ::1] theta, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef inline vec _bounds(Py_ssize_t n_features, real[:, ::1] theta, Py_ssize_t k, vec square, vec room, Py_ssize_t row, Py_ssize_t b, real[:, ::1] log_p) noexcept nogil
cdef vec _threshold(vec best) noexcept nogil
