cimport cython
from fastem.kernels.panel cimport accumulate_panel, accumulate_t, evaluate_panel, log_density_t
from fastem.kernels.structures cimport update_t
from fastem.kernels.vectors cimport FASTEM_WIDE, fastem_cpu_level, fastem_take, real

cdef inline log_density_t log_density_kernel(object capsule) except NULL:
    return <log_density_t> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))

cdef inline accumulate_t moments_kernel(object capsule) except NULL:
    return <accumulate_t> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))

cdef inline update_t m_step_kernel(object capsule) except NULL:
    return <update_t> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))

cpdef object run_accumulate_panels(object log_density, object accumulate, const real[:, :] X, const double[:] sample_weight, const real[:, :] given, const int[:] order, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t panel_rows, Py_ssize_t step, real[:, ::1] theta, real[:, ::1] common, Py_ssize_t[::1] taken, real[:, ::1] XT, real[:, ::1] log_p, real[:, ::1] rows, real[:, ::1] scratch, double[:, :, ::1] S, double[::1] log_likelihood)
cpdef object run_evaluate_panels(object log_density, const real[:, :] X, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t panel_rows, Py_ssize_t n_panels, real[:, ::1] theta, real[:, ::1] common, Py_ssize_t[::1] taken, real[:, ::1] XT, real[:, ::1] log_p, real[:, ::1] rows, real[:, ::1] scratch, Py_ssize_t[::1] labels, real[::1] log_likelihood, real[:, ::1] responsibilities)
@cython.locals(total=double)
cpdef object run_iterations(object log_density, object accumulate, object update, const real[:, :] X, const double[:] sample_weight, const real[:, :] given, const int[:] order, Py_ssize_t panel_rows, const Py_ssize_t[::1] letters, double[:, :, ::1] shared, double weight, double[::1] ridge, real[:, :, :, ::1] theta, real[:, :, ::1] common, Py_ssize_t[::1] taken, real[:, ::1] XT, real[:, ::1] log_p, real[:, ::1] rows, real[:, ::1] scratch, double[:, ::1] work, double[:, :, :, ::1] matrices, double[:, :, ::1] axes, double[:, :, :, ::1] thin, double[:, ::1] table, double[:, :, :, ::1] S, double[:, :, ::1] course, Py_ssize_t[::1] steps, double previous, double tol, Py_ssize_t max_iter, bint from_moments)
