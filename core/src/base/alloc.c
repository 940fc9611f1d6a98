/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static void *libc_fn(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

const pra_alloc *pra_alloc_libc(void)
{
    static const pra_alloc libc_alloc = {NULL, libc_fn};
    return &libc_alloc;
}

pra_alloc pra__alloc_copy(const pra_alloc *alloc)
{
    return alloc ? *alloc : *pra_alloc_libc();
}

void *pra__calloc(const pra_alloc *alloc, size_t size)
{
    void *ptr = pra__malloc(alloc, size);
    if (ptr)
        memset(ptr, 0, size);
    return ptr;
}
