/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sort.h"

#include <string.h>

struct heap {
    char *items;
    size_t size;
    int (*compare)(const void *a, const void *b, const void *arg);
    const void *arg;
};

static char *at(const struct heap *h, size_t i)
{
    return h->items + i * h->size;
}

static void swap(const struct heap *h, size_t i, size_t k)
{
    char held[PRA__SORT_MAX_SIZE];
    memcpy(held, at(h, i), h->size);
    memcpy(at(h, i), at(h, k), h->size);
    memcpy(at(h, k), held, h->size);
}

static void sift(const struct heap *h, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && h->compare(at(h, child), at(h, child + 1), h->arg) < 0)
            child++;
        if (h->compare(at(h, root), at(h, child), h->arg) >= 0)
            return;
        swap(h, root, child);
    }
}

void pra__sort(void *items, size_t count, size_t size,
               int (*compare)(const void *a, const void *b, const void *arg), const void *arg)
{
    const struct heap h = {items, size, compare, arg};
    for (size_t i = count / 2; i-- > 0;)
        sift(&h, i, count);
    for (size_t i = count; i-- > 1;) {
        swap(&h, 0, i);
        sift(&h, 0, i);
    }
}
