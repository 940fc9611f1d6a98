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

/* The leaf that the larger child leads to again and again. */
static size_t leaf_below(const struct heap *h, size_t root, size_t count)
{
    size_t child;
    while ((child = 2 * root + 2) < count)
        root = h->compare(at(h, child - 1), at(h, child), h->arg) < 0 ? child : child - 1;
    return child - 1 < count ? child - 1 : root;
}

/* What sinks nearly always sinks to the bottom, so its place is looked for from there: one
 * comparison on each floor instead of two. */
static void sift(const struct heap *h, size_t root, size_t count)
{
    char sinking[PRA__SORT_MAX_SIZE], held[PRA__SORT_MAX_SIZE];
    size_t place = leaf_below(h, root, count);
    while (place != root && h->compare(at(h, place), at(h, root), h->arg) < 0)
        place = (place - 1) / 2;
    memcpy(sinking, at(h, root), h->size);
    for (; place != root; place = (place - 1) / 2) { /* all above it move up by one */
        memcpy(held, at(h, place), h->size);
        memcpy(at(h, place), sinking, h->size);
        memcpy(sinking, held, h->size);
    }
    memcpy(at(h, root), sinking, h->size);
}

static int in_order(const struct heap *h, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (h->compare(at(h, i - 1), at(h, i), h->arg) > 0)
            return 0;
    return 1;
}

void pra__sort(void *items, size_t count, size_t size,
               int (*compare)(const void *a, const void *b, const void *arg), const void *arg)
{
    const struct heap h = {items, size, compare, arg};
    if (in_order(&h, count))
        return;
    for (size_t i = count / 2; i-- > 0;)
        sift(&h, i, count);
    for (size_t i = count; i-- > 1;) {
        swap(&h, 0, i);
        sift(&h, 0, i);
    }
}
