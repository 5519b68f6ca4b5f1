import cython


def cpu_level():
    return fastem_cpu_level()


def is_wide():
    return FASTEM_WIDE


def run_accumulate_panels(
    log_density, accumulate, X, sample_weight, given, order, start, stop, panel_rows, step, theta, common, taken, XT,
    log_p, rows, scratch, S, log_likelihood,
):  # fmt: skip
    density_kernel = log_density_kernel(log_density)
    accumulate_kernel = moments_kernel(accumulate)
    with cython.nogil:
        # Several threads are in here; each panel goes to the one that takes its number.
        p = fastem_take(cython.address(taken[0]))
        while p < S.shape[0]:
            first = start + p * step
            last = min(first + panel_rows, stop)
            log_likelihood[p] = accumulate_panel(
                density_kernel, accumulate_kernel, X, sample_weight, given, order, first, last, theta, common, XT,
                log_p, rows, scratch, S[p],
            )  # fmt: skip
            p = fastem_take(cython.address(taken[0]))


def run_evaluate_panels(
    log_density, X, start, stop, panel_rows, n_panels, theta, common, taken, XT, log_p, rows, scratch, labels,
    log_likelihood, responsibilities,
):  # fmt: skip
    density_kernel = log_density_kernel(log_density)
    with cython.nogil:
        p = fastem_take(cython.address(taken[0]))
        while p < n_panels:
            first = start + p * panel_rows
            last = min(first + panel_rows, stop)
            evaluate_panel(
                density_kernel, X, first, last, theta, common, XT, log_p, rows, scratch, labels, log_likelihood,
                responsibilities,
            )  # fmt: skip
            p = fastem_take(cython.address(taken[0]))


def run_iterations(
    log_density, accumulate, update, X, sample_weight, given, order, panel_rows, letters, shared, weight, ridge, theta,
    common, taken, XT, log_p, rows, scratch, work, matrices, axes, thin, table, S, course, steps, previous, tol,
    max_iter, from_moments,
):  # fmt: skip
    density_kernel = log_density_kernel(log_density)
    accumulate_kernel = moments_kernel(accumulate)
    update_kernel = m_step_kernel(update)
    with cython.nogil:
        stop = X.shape[0]
        n_components = theta.shape[2]
        # Several threads are in here; each start goes to the one that takes its number.
        start = fastem_take(cython.address(taken[0]))
        while start < theta.shape[0]:
            iteration = 0
            going_on = 1
            before = previous
            if from_moments:
                # Of the rows of the start, about the means that are in the other half of theta.
                found = update_kernel(
                    letters, 0, S[start, 0], shared[1 + start], weight, ridge, theta[start, 1], work, matrices, axes,
                    thin, table, theta[start, 0], common[start],
                )  # fmt: skip
                if found < n_components:
                    going_on = 0
                    iteration = -1
            while going_on > 0:
                total = 0.0
                for p in range(S.shape[1]):
                    first = p * panel_rows
                    last = min(first + panel_rows, stop)
                    total += accumulate_panel(
                        density_kernel, accumulate_kernel, X, sample_weight, given, order, first, last,
                        theta[start, iteration % 2], common[start], XT, log_p, rows, scratch, S[start, p],
                    )  # fmt: skip
                    if p > 0:
                        for k in range(n_components):
                            for q in range(S.shape[3]):
                                S[start, 0, k, q] += S[start, p, k, q]
                course[start, iteration, 0] = total
                gain = total / weight - before
                before = total / weight
                going_on = 0
                # NaN ends the loop too.
                if iteration + 1 < max_iter and (gain >= tol or -gain >= tol):
                    found = update_kernel(
                        letters, iteration + from_moments, S[start, 0], shared[0], weight, ridge,
                        theta[start, iteration % 2], work, matrices, axes, thin, table,
                        theta[start, (iteration + 1) % 2], common[start],
                    )  # fmt: skip
                    if found == n_components:
                        iteration += 1
                        going_on = 1
                        total = 0.0
                        for k in range(n_components):
                            total += S[start, 0, k, 0]
                        for k in range(n_components):
                            course[start, iteration, 1 + k] = S[start, 0, k, 0] / total
            steps[start] = iteration
            start = fastem_take(cython.address(taken[0]))
