/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator that counts and refuses. */
#ifndef TESTS_STORE_OOM_H
#define TESTS_STORE_OOM_H

#include "store_fixture.h"

struct oom_alloc {
    size_t calls, fail_at, live, peak;
    int from_then_on;
};

static void *oom_fn(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct oom_alloc *a = ctx;
    if (new_size == 0) {
        a->live -= ptr ? old_size : 0;
        free(ptr);
        return NULL;
    }
    size_t call = a->calls++;
    if (a->from_then_on ? call >= a->fail_at : call == a->fail_at)
        return NULL;
    void *grown = realloc(ptr, new_size);
    a->live += new_size - (ptr ? old_size : 0);
    a->peak = a->live > a->peak ? a->live : a->peak;
    return grown;
}

#endif
