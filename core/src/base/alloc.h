/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of a pra_alloc; the only file that calls libc's allocator is alloc.c. */
#ifndef PRA_BASE_ALLOC_H
#define PRA_BASE_ALLOC_H

#include "pra.h"

/* A copy of *alloc, or of the libc allocator where alloc is NULL. */
pra_alloc pra__alloc_copy(const pra_alloc *alloc);

/* NULL when the allocator refuses, or when size is 0. */
static inline void *pra__malloc(const pra_alloc *alloc, size_t size)
{
    return size ? alloc->fn(alloc->ctx, NULL, 0, size) : NULL;
}

/* As pra__malloc, zeroed. */
void *pra__calloc(const pra_alloc *alloc, size_t size);

static inline void *pra__realloc(const pra_alloc *alloc, void *ptr, size_t old_size,
                                 size_t new_size)
{
    return alloc->fn(alloc->ctx, ptr, old_size, new_size);
}

/* size is what was asked for. NULL is allowed. */
static inline void pra__free(const pra_alloc *alloc, void *ptr, size_t size)
{
    if (ptr)
        alloc->fn(alloc->ctx, ptr, size, 0);
}

#endif
