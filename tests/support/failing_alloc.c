/* SPDX-License-Identifier: Apache-2.0 */
#include "support/failing_alloc.h"

#include <stdlib.h>
#include <string.h>

union head {
    size_t size;
    max_align_t align;
};

static int refuses(struct failing_alloc *f)
{
    size_t call = f->calls++;
    return (f->mode == FAIL_ONCE && call == f->fail_at) ||
           (f->mode == FAIL_FROM_THEN_ON && call >= f->fail_at);
}

static void release(struct failing_alloc *f, union head *old, size_t old_size)
{
    if (!old)
        return;
    f->live -= old_size;
    free(old);
}

/* Always moves, so that a pointer into the old block is found by a sanitizer. */
static void *resize(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct failing_alloc *f = ctx;
    union head *old = ptr ? (union head *)ptr - 1 : NULL;
    if ((old ? old->size : 0) != old_size)
        f->wrong_size = 1;
    if (new_size == 0) {
        f->frees++;
        release(f, old, old_size);
        return NULL;
    }
    if (refuses(f))
        return NULL;
    union head *block = malloc(sizeof(*block) + new_size);
    if (!block)
        return NULL;
    block->size = new_size;
    memset(block + 1, 0xA5, new_size);
    if (old)
        memcpy(block + 1, ptr, old_size < new_size ? old_size : new_size);
    f->live += new_size;
    if (f->live > f->peak)
        f->peak = f->live;
    release(f, old, old_size);
    return block + 1;
}

void failing_alloc_init(struct failing_alloc *f)
{
    memset(f, 0, sizeof(*f));
    f->alloc.ctx = f;
    f->alloc.fn = resize;
}

static const char *check(const struct failing_alloc *f, int rc)
{
    if (f->wrong_size)
        return "an old_size was wrong";
    if (f->live)
        return "memory was left";
    if (f->calls <= f->fail_at)
        return rc ? "failed although nothing was refused" : NULL;
    if (rc == PRA_OK && f->mode == FAIL_ONCE)
        return NULL; /* what was refused was a wish, such as a first size */
    return rc == PRA_ERR_NOMEM ? NULL : "a refused allocation did not give PRA_ERR_NOMEM";
}

static const char *loop(enum failing_mode mode, int (*run)(struct failing_alloc *f, void *arg),
                        void *arg)
{
    for (size_t n = 0;; n++) {
        struct failing_alloc f;
        failing_alloc_init(&f);
        f.mode = mode;
        f.fail_at = n;
        int rc = run(&f, arg);
        const char *wrong = check(&f, rc);
        if (wrong || f.calls <= n)
            return wrong;
    }
}

const char *failing_alloc_loop(int (*run)(struct failing_alloc *f, void *arg), void *arg)
{
    const char *wrong = loop(FAIL_ONCE, run, arg);
    return wrong ? wrong : loop(FAIL_FROM_THEN_ON, run, arg);
}
