/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator that counts, checks old_size, and fails on demand. */
#ifndef TESTS_SUPPORT_FAILING_ALLOC_H
#define TESTS_SUPPORT_FAILING_ALLOC_H

#include "pra.h"

enum failing_mode { FAIL_NEVER = 0, FAIL_ONCE = 1, FAIL_FROM_THEN_ON = 2 };

struct failing_alloc {
    pra_alloc alloc; /* to be handed to the library */
    enum failing_mode mode;
    size_t fail_at; /* the call that fails, counted from 0 */
    size_t calls;   /* calls that want memory */
    size_t frees;
    size_t live;    /* bytes */
    size_t peak;    /* most bytes at once, the old and the new block of a resize both counted */
    int wrong_size; /* an old_size was not what had been asked for */
};

/* All zero but alloc. */
void failing_alloc_init(struct failing_alloc *f);

/* Calls run(f, arg) with every allocation failing in turn, in both modes, until a run needs fewer.
 * run does everything anew, frees it, and returns PRA_ERR_NOMEM if it met that, else 0. Returns
 * NULL, or what went wrong: a leak, another result, a wrong old_size. */
const char *failing_alloc_loop(int (*run)(struct failing_alloc *f, void *arg), void *arg);

#endif
