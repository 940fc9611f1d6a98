/* SPDX-License-Identifier: Apache-2.0 */
#include "message/label_set.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sort.h"
#include "base/str.h"

static int compare_names(const void *a, const void *b, const void *arg)
{
    (void)arg;
    return pra__str_compare(((const pra_label *)a)->name, ((const pra_label *)b)->name);
}

static int reserve(struct pra__label_set *set, const pra_alloc *alloc, size_t count)
{
    if (count <= set->cap)
        return PRA_OK;
    if (count > SIZE_MAX / sizeof(*set->items))
        return PRA_ERR_NOMEM;
    pra_label *items =
        pra__realloc(alloc, set->items, set->cap * sizeof(*items), count * sizeof(*items));
    if (!items)
        return PRA_ERR_NOMEM;
    set->items = items;
    set->cap = count;
    return PRA_OK;
}

static int has_name(const struct pra__label_set *set, pra_str name)
{
    for (size_t i = 0; i < set->count; i++)
        if (pra__str_equal(set->items[i].name, name))
            return 1;
    return 0;
}

static int check(const struct pra__label_set *set, pra_error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        pra_str name = set->items[i].name;
        int shown = (int)(name.len < 64 ? name.len : 64);
        if (name.len == 0)
            return pra__error(err, PRA_ERR_LABELS, 0, "a label of the answer has an empty name");
        if (!pra__utf8_valid(name) || !pra__utf8_valid(set->items[i].value))
            return pra__error(err, PRA_ERR_LABELS, 0, "label \"%.*s\" of the answer is not UTF-8",
                              shown, name.ptr);
        if (i > 0 && pra__str_equal(set->items[i - 1].name, name))
            return pra__error(err, PRA_ERR_LABELS, 0,
                              "label \"%.*s\" stands twice in a series of the answer", shown,
                              name.ptr);
    }
    return PRA_OK;
}

int pra__label_set_make(struct pra__label_set *set, const pra_alloc *alloc, const pra_label *labels,
                        size_t count, const pra_label *more, size_t more_count, pra_error *err)
{
    int in_order = 1;
    if (count > SIZE_MAX - more_count || reserve(set, alloc, count + more_count))
        return pra__nomem(err);
    set->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (labels[i].value.len == 0)
            continue;
        in_order &=
            set->count == 0 || compare_names(&set->items[set->count - 1], &labels[i], NULL) < 0;
        set->items[set->count++] = labels[i];
    }
    for (size_t i = 0; i < more_count; i++) {
        if (has_name(set, more[i].name))
            continue;
        set->items[set->count++] = more[i];
        in_order = 0;
    }
    if (!in_order)
        pra__sort(set->items, set->count, sizeof(*set->items), compare_names, NULL);
    return check(set, err);
}

void pra__label_set_fini(struct pra__label_set *set, const pra_alloc *alloc)
{
    pra__free(alloc, set->items, set->cap * sizeof(*set->items));
    *set = (struct pra__label_set){NULL, 0, 0};
}

int pra__labels_compare(const pra_label *a, size_t a_count, const pra_label *b, size_t b_count)
{
    size_t common = a_count < b_count ? a_count : b_count;
    for (size_t i = 0; i < common; i++) {
        int order = pra__str_compare(a[i].name, b[i].name);
        if (order == 0)
            order = pra__str_compare(a[i].value, b[i].value);
        if (order)
            return order;
    }
    return (a_count > b_count) - (a_count < b_count);
}

static int shown(pra_str s, size_t room)
{
    return (int)(s.len < room ? s.len : room);
}

void pra__labels_text(char *out, size_t size, const pra_label *labels, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%.*s=\"%.*s\"", i ? "," : "{",
                                shown(labels[i].name, size), labels[i].name.ptr,
                                shown(labels[i].value, size), labels[i].value.ptr);
    if (len < size)
        len += (size_t)snprintf(out + len, size - len, count ? "}" : "{}");
    if (len >= size) /* at the boundary of a character, with room for what says so */
    {
        len = size - sizeof("…");
        while (len > 0 && ((unsigned char)out[len] & 0xC0) == 0x80)
            len--;
        (void)snprintf(out + len, size - len, "…");
    }
}
