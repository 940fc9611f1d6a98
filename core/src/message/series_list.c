/* SPDX-License-Identifier: Apache-2.0 */
#include "message/series_list.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sort.h"

/* ---- life */

void pra__series_list_init(pra_series_list *list, const pra_alloc *alloc)
{
    *list = (pra_series_list){.count = 0};
    pra__arena_init(&list->arena, alloc, 0);
}

static void empty(pra_series_list *list)
{
    if (list->budget)
        pra__budget_give(&list->budget->list_bytes, list->taken);
    list->budget = NULL;
    list->taken = 0;
    list->count = 0;
    list->failure = (pra_error){0};
}

void pra__series_list_start(pra_series_list *list, pra__read_budget *budget,
                            const pra_label *external, size_t external_count)
{
    empty(list);
    pra_arena_reset(&list->arena);
    list->budget = budget;
    list->external = external;
    list->external_count = external_count;
}

static void free_arrays(pra_series_list *list)
{
    pra__label_set_fini(&list->set, &list->arena.alloc);
    pra__free(&list->arena.alloc, list->items, list->cap * sizeof(*list->items));
    list->items = NULL;
    list->cap = 0;
}

void pra__series_list_trim(pra_series_list *list, size_t retain)
{
    empty(list);
    if (pra__series_list_memory(list) > retain) {
        free_arrays(list);
        pra__arena_fini(&list->arena);
    } else {
        pra_arena_reset(&list->arena);
    }
}

void pra__series_list_fini(pra_series_list *list)
{
    pra__series_list_trim(list, 0);
}

size_t pra__series_list_memory(const pra_series_list *list)
{
    return pra__arena_held(&list->arena) + list->set.cap * sizeof(*list->set.items) +
           list->cap * sizeof(*list->items);
}

/* ---- adding */

static int fail(pra_series_list *list, pra_error *err)
{
    if (err)
        *err = list->failure;
    return list->failure.code;
}

static int fail_nomem(pra_series_list *list, pra_error *err)
{
    pra__nomem(&list->failure);
    return fail(list, err);
}

static size_t text_size(const pra_label *labels, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += labels[i].name.len + labels[i].value.len;
    return size;
}

/* Before it is taken: what a series costs. */
static int take_bytes(pra_series_list *list, const pra_label *labels, size_t count, pra_error *err)
{
    const uint64_t size =
        sizeof(struct pra__listed) + count * sizeof(*labels) + text_size(labels, count);
    if (pra__budget_take(&list->budget->list_bytes, size)) {
        list->taken += size;
        return PRA_OK;
    }
    pra__error(&list->failure, PRA_ERR_RESPONSE_TOO_LARGE, 0,
               "the labels of all series found take more than the limit of %llu bytes; ask for "
               "less, or raise max_memory_bytes (--limit.request-memory)",
               (unsigned long long)list->budget->max_list_bytes);
    return fail(list, err);
}

static int reserve_item(pra_series_list *list)
{
    if (list->count < list->cap)
        return PRA_OK;
    size_t cap = list->cap ? list->cap * 2 : 16;
    struct pra__listed *items = pra__realloc(&list->arena.alloc, list->items,
                                             list->cap * sizeof(*items), cap * sizeof(*items));
    if (!items)
        return PRA_ERR_NOMEM;
    list->items = items;
    list->cap = cap;
    return PRA_OK;
}

static pra_str copy_str(char **at, pra_str str)
{
    const pra_str copy = {*at, str.len};
    if (str.len)
        memcpy(*at, str.ptr, str.len);
    *at += str.len;
    return copy;
}

/* Labels and, behind them, their text. */
static int copy_labels(pra_series_list *list, const pra_label *labels, size_t count,
                       pra_label **out)
{
    pra_label *copy =
        pra_arena_alloc(&list->arena, count * sizeof(*labels) + text_size(labels, count), 8);
    if (!copy)
        return PRA_ERR_NOMEM;
    char *at = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        copy[i].name = copy_str(&at, labels[i].name);
        copy[i].value = copy_str(&at, labels[i].value);
    }
    *out = copy;
    return PRA_OK;
}

int pra__series_list_keep(pra_series_list *list, const pra_label *labels, size_t count, uint64_t id,
                          pra_error *err)
{
    pra_label *copy;
    const pra_arena *arena = &list->arena;
    list->before.chunk = arena->current;
    list->before.chunk_used = arena->current_used;
    list->before.used = arena->used;
    list->before.taken = list->taken;
    int rc = take_bytes(list, labels, count, err);
    if (rc)
        return rc;
    if (reserve_item(list) || copy_labels(list, labels, count, &copy))
        return fail_nomem(list, err);
    list->items[list->count++] = (struct pra__listed){copy, count, id};
    return PRA_OK;
}

void pra__series_list_undo(pra_series_list *list)
{
    list->count--;
    list->arena.current = list->before.chunk;
    list->arena.current_used = list->before.chunk_used;
    list->arena.used = list->before.used;
    pra__budget_give(&list->budget->list_bytes, list->taken - list->before.taken);
    list->taken = list->before.taken;
}

int pra_series_list_add(pra_series_list *list, const pra_label *labels, size_t label_count,
                        uint64_t id, pra_error *err)
{
    if (!list || (!labels && label_count))
        return PRA_ERR_INVALID_ARG;
    if (list->failure.code || pra__budget_check_wanted(list->budget, &list->failure))
        return fail(list, err);
    int rc = pra__label_set_make(&list->set, &list->arena.alloc, labels, label_count,
                                 list->external, list->external_count, err);
    if (rc == PRA_ERR_NOMEM)
        return fail_nomem(list, err);
    return rc ? rc : pra__series_list_keep(list, list->set.items, list->set.count, id, err);
}

/* ---- order */

static int compare(const void *a, const void *b, const void *arg)
{
    (void)arg;
    const struct pra__listed *x = a;
    const struct pra__listed *y = b;
    int order = pra__labels_compare(x->labels, x->label_count, y->labels, y->label_count);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

void pra__series_list_sort(pra_series_list *list)
{
    pra__sort(list->items, list->count, sizeof(*list->items), compare, NULL);
}
