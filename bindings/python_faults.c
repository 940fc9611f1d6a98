/* SPDX-License-Identifier: Apache-2.0 */
/* What the test reaches through ctypes, with the GIL, which guards all of it. */
#include "python_faults.h"

#include <string.h>

#define PRA_VISIBLE __attribute__((visibility("default")))

PRA_VISIBLE void pra_py_faults_arm(long first, long count);
PRA_VISIBLE long pra_py_faults_calls(void);
PRA_VISIBLE long pra_py_faults_failures(void);
PRA_VISIBLE const pra_py_site *pra_py_faults_last(void);
PRA_VISIBLE const pra_py_site *pra_py_faults_site(size_t index);

extern pra_py_site *__start_pra_py_sites[], *__stop_pra_py_sites[]; /* the linker's */

static long first_to_fail = -1, count_to_fail, calls, failures;
static const pra_py_site *last; /* that failed */

/* From now on count calls fail, the first of them after that many others; first -1: none. */
void pra_py_faults_arm(long first, long count)
{
    first_to_fail = first;
    count_to_fail = count;
    calls = failures = 0;
}

/* Since the last arm. */
long pra_py_faults_calls(void)
{
    return calls;
}

long pra_py_faults_failures(void)
{
    return failures;
}

const pra_py_site *pra_py_faults_last(void)
{
    return last;
}

/* NULL behind the last. */
const pra_py_site *pra_py_faults_site(size_t index)
{
    return index < (size_t)(__stop_pra_py_sites - __start_pra_py_sites)
               ? __start_pra_py_sites[index]
               : NULL;
}

/* What frees asks CPython only for what it put there itself. */
static int can_fail(const pra_py_site *site)
{
    static const char end[] = "_free";
    const size_t len = strlen(site->function), end_len = sizeof end - 1;
    return len < end_len || strcmp(site->function + len - end_len, end) != 0;
}

int pra_py_quiet_fault(pra_py_site *site)
{
    if (!can_fail(site)) {
        return 0;
    }
    site->calls++;
    const long number = calls++;
    if (first_to_fail < 0 || number < first_to_fail || number - first_to_fail >= count_to_fail) {
        return 0;
    }
    site->failures++;
    failures++;
    last = site;
    return 1;
}

int pra_py_fault(pra_py_site *site)
{
    if (!pra_py_quiet_fault(site)) {
        return 0;
    }
    PyErr_SetString(PyExc_MemoryError, "injected");
    return 1;
}
