/* SPDX-License-Identifier: Apache-2.0 */
#include "message/arrow_hold.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"

struct pra__arrow_hold {
    pra_arena arena;
    pra_write_request *share; /* or NULL */
    atomic_size_t structs;    /* made and not yet released */
};

int pra__arrow_hold_new(const pra_alloc *alloc, struct pra__arrow_hold **out)
{
    const pra_alloc a = pra__alloc_copy(alloc);
    struct pra__arrow_hold *hold = pra__malloc(&a, sizeof(*hold));
    if (!hold)
        return PRA_ERR_NOMEM;
    pra__arena_init(&hold->arena, &a, 0);
    hold->share = NULL;
    atomic_init(&hold->structs, 0);
    *out = hold;
    return PRA_OK;
}

void pra__arrow_hold_request(struct pra__arrow_hold *hold, pra_write_request *share)
{
    hold->share = share;
}

void pra__arrow_hold_free(struct pra__arrow_hold *hold)
{
    const pra_alloc alloc = hold->arena.alloc;
    pra_write_request_free(hold->share);
    pra__arena_fini(&hold->arena);
    pra__free(&alloc, hold, sizeof(*hold));
}

static void one_more(struct pra__arrow_hold *hold)
{
    atomic_fetch_add_explicit(&hold->structs, 1, memory_order_relaxed);
}

static void one_less(struct pra__arrow_hold *hold)
{
    if (atomic_fetch_sub_explicit(&hold->structs, 1, memory_order_acq_rel) == 1)
        pra__arrow_hold_free(hold);
}

static void *take(struct pra__arrow_hold *hold, size_t count, size_t size)
{
    /* nothing that is counted in 32 bits comes near the bound */
    return count > SIZE_MAX / size ? NULL : pra_arena_alloc(&hold->arena, count * size, 16);
}

void *pra__arrow_buffer(struct pra__arrow_hold *hold, size_t count, size_t size)
{
    return take(hold, count, size);
}

/* ---- schemas */

static void release_schema(struct ArrowSchema *s)
{
    struct pra__arrow_hold *hold = s->private_data;
    for (int64_t i = 0; i < s->n_children; i++)
        if (s->children[i]->release)
            s->children[i]->release(s->children[i]);
    if (s->dictionary && s->dictionary->release)
        s->dictionary->release(s->dictionary);
    s->release = NULL;
    one_less(hold);
}

static struct ArrowSchema *new_schema(struct pra__arrow_hold *hold,
                                      const struct pra__arrow_field *field)
{
    struct ArrowSchema *s = take(hold, 1, sizeof(*s));
    return s && pra__arrow_make_schema(hold, field, s) == PRA_OK ? s : NULL;
}

/* Counts itself last: before all is made, the block is freed as a whole. */
int pra__arrow_make_schema(struct pra__arrow_hold *hold, const struct pra__arrow_field *field,
                           struct ArrowSchema *out)
{
    const size_t children = (size_t)field->child_count;
    *out = (struct ArrowSchema){.format = field->format,
                                .name = field->name,
                                .flags = field->flags,
                                .n_children = field->child_count,
                                .release = release_schema,
                                .private_data = hold};
    if (children && !(out->children = take(hold, children, sizeof(*out->children))))
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < children; i++)
        if (!(out->children[i] = new_schema(hold, &field->children[i])))
            return PRA_ERR_NOMEM;
    if (field->dictionary && !(out->dictionary = new_schema(hold, field->dictionary)))
        return PRA_ERR_NOMEM;
    one_more(hold);
    return PRA_OK;
}

/* ---- arrays */

static void release_array(struct ArrowArray *a)
{
    struct pra__arrow_hold *hold = a->private_data;
    for (int64_t i = 0; i < a->n_children; i++)
        if (a->children[i]->release)
            a->children[i]->release(a->children[i]);
    if (a->dictionary && a->dictionary->release)
        a->dictionary->release(a->dictionary);
    a->release = NULL;
    one_less(hold);
}

static int64_t buffer_count(const char *format)
{
    if (strcmp(format, "+s") == 0)
        return 1; /* a struct has a bitmap only */
    return strcmp(format, "u") == 0 ? 3 : 2;
}

static struct ArrowArray *new_array(struct pra__arrow_hold *hold,
                                    const struct pra__arrow_field *field)
{
    struct ArrowArray *a = take(hold, 1, sizeof(*a));
    return a && pra__arrow_make_array(hold, field, a) == PRA_OK ? a : NULL;
}

int pra__arrow_make_array(struct pra__arrow_hold *hold, const struct pra__arrow_field *field,
                          struct ArrowArray *out)
{
    static const int64_t empty[2] = {0, 0}; /* also the one offset of no strings or lists */
    const size_t children = (size_t)field->child_count;
    *out = (struct ArrowArray){.n_buffers = buffer_count(field->format),
                               .n_children = field->child_count,
                               .release = release_array,
                               .private_data = hold};
    out->buffers = take(hold, (size_t)out->n_buffers, sizeof(*out->buffers));
    if (!out->buffers)
        return PRA_ERR_NOMEM;
    for (int64_t i = 0; i < out->n_buffers; i++)
        out->buffers[i] = i ? empty : NULL;
    if (children && !(out->children = take(hold, children, sizeof(*out->children))))
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < children; i++)
        if (!(out->children[i] = new_array(hold, &field->children[i])))
            return PRA_ERR_NOMEM;
    if (field->dictionary && !(out->dictionary = new_array(hold, field->dictionary)))
        return PRA_ERR_NOMEM;
    one_more(hold);
    return PRA_OK;
}
