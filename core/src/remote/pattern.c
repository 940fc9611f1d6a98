/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* memmem, which is linear */
#include "remote/pattern.h"

#include "base/arena.h"
#include "base/sort.h"
#include "base/str.h"

enum { MAX_DEPTH = 16 };

struct list {
    pra_str *items;
    size_t count;
    size_t cap;
};

struct parser {
    const char *p;
    const char *end;
    pra_arena *arena;
    size_t room;          /* what products of groups may still cost */
    char *text;           /* the literals, without their escapes, one behind the other */
    struct list literals; /* before each wildcard */
    uint8_t *gaps;        /* one for each of these */
};

static int push(struct parser *ps, struct list *list, pra_str s)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 4;
        pra_str *items = pra_arena_alloc(ps->arena, cap * sizeof(*items), sizeof(void *));
        if (!items)
            return PRA_ERR_NOMEM;
        if (list->count)
            memcpy(items, list->items, list->count * sizeof(*items));
        list->items = items;
        list->cap = cap;
    }
    list->items[list->count++] = s;
    return PRA_OK;
}

static int push_concat(struct parser *ps, struct list *list, pra_str a, pra_str b)
{
    size_t cost = sizeof(pra_str) + a.len + b.len;
    if (cost > ps->room)
        return PRA_DONE;
    ps->room -= cost;
    if (a.len == 0 || b.len == 0)
        return push(ps, list, a.len ? a : b);
    char *ptr = pra_arena_alloc(ps->arena, a.len + b.len, 1);
    if (!ptr)
        return PRA_ERR_NOMEM;
    memcpy(ptr, a.ptr, a.len);
    memcpy(ptr + a.len, b.ptr, b.len);
    return push(ps, list, (pra_str){ptr, a.len + b.len});
}

/* Each of list followed by each of tails becomes the new list. */
static int multiply(struct parser *ps, struct list *list, const struct list *tails)
{
    struct list product = {0};
    for (size_t i = 0; i < list->count; i++)
        for (size_t j = 0; j < tails->count; j++) {
            int rc = push_concat(ps, &product, list->items[i], tails->items[j]);
            if (rc)
                return rc;
        }
    *list = product;
    return PRA_OK;
}

/* Ends a run of literal characters that began at start, and appends it to all of list. */
static int end_run(struct parser *ps, char **start, struct list *list)
{
    pra_str run = {*start, (size_t)(ps->text - *start)};
    struct list tail = {&run, 1, 1};
    *start = ps->text;
    if (run.len == 0)
        return PRA_OK;
    if (list->count == 1 && list->items[0].len == 0) {
        list->items[0] = run;
        return PRA_OK;
    }
    return multiply(ps, list, &tail);
}

static int at(const struct parser *ps, const char *any_of)
{
    return ps->p < ps->end && *ps->p && strchr(any_of, *ps->p) != NULL;
}

/* .* or .+, not greedy or greedy. Only outside of groups and after a single literal. */
static int wildcard(struct parser *ps, struct list *before)
{
    ps->p++;
    if (!at(ps, "*+") || before->count != 1)
        return PRA_DONE;
    uint8_t gap = *ps->p++ == '+';
    if (at(ps, "?"))
        ps->p++;
    size_t n = ps->literals.count;
    if (n > 0 && before->items[0].len == 0) { /* two in a row */
        if (gap && ps->gaps[n - 1])
            return PRA_DONE;
        ps->gaps[n - 1] |= gap;
        return PRA_OK;
    }
    ps->gaps[n] = gap;
    int rc = push(ps, &ps->literals, before->items[0]);
    before->items[0] = (pra_str){NULL, 0};
    return rc;
}

static int alternatives(struct parser *ps, int depth, struct list *out);

static int group(struct parser *ps, int depth, struct list *list)
{
    struct list inner = {0};
    ps->p++;
    if (at(ps, "?")) {
        if (ps->end - ps->p < 2 || ps->p[1] != ':')
            return PRA_DONE;
        ps->p += 2;
    }
    int rc = depth < MAX_DEPTH ? alternatives(ps, depth + 1, &inner) : PRA_DONE;
    if (rc)
        return rc;
    if (!at(ps, ")"))
        return PRA_DONE;
    ps->p++;
    return multiply(ps, list, &inner);
}

static int literal(struct parser *ps)
{
    if (at(ps, "\\")) {
        ps->p++;
        if (!at(ps, "!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~"))
            return PRA_DONE;
    } else if (at(ps, "*+?{}[]^$)")) {
        return PRA_DONE;
    }
    *ps->text++ = *ps->p++;
    return PRA_OK;
}

/* One part of an alternative: a group, a wildcard or a character. */
static int part(struct parser *ps, int depth, char **run, struct list *list)
{
    int rc;
    if (at(ps, "(")) {
        rc = end_run(ps, run, list);
        rc = rc ? rc : group(ps, depth, list);
        *run = ps->text;
        return rc;
    }
    if (at(ps, ".")) {
        rc = end_run(ps, run, list);
        return rc ? rc : depth ? PRA_DONE : wildcard(ps, list);
    }
    return literal(ps);
}

/* One alternative; anchors around a whole one say what holds anyway. */
static int alternative(struct parser *ps, int depth, struct list *out)
{
    pra_str empty = {NULL, 0};
    struct list list = {&empty, 1, 1};
    char *run = ps->text;
    int rc = PRA_OK;
    if (depth == 0 && at(ps, "^"))
        ps->p++;
    while (!rc && ps->p < ps->end && !at(ps, depth ? "|)" : "|")) {
        if (depth == 0 && *ps->p == '$' && (ps->p + 1 == ps->end || ps->p[1] == '|')) {
            ps->p++;
            break;
        }
        rc = part(ps, depth, &run, &list);
    }
    rc = rc ? rc : end_run(ps, &run, &list);
    for (size_t i = 0; i < list.count && !rc; i++)
        rc = push(ps, out, list.items[i]);
    return rc;
}

static int alternatives(struct parser *ps, int depth, struct list *out)
{
    for (;;) {
        int rc = alternative(ps, depth, out);
        if (rc || !at(ps, "|"))
            return rc;
        ps->p++;
    }
}

static int compare_items(const void *a, const void *b, const void *arg)
{
    (void)arg;
    return pra__str_compare(**(const pra_str *const *)a, **(const pra_str *const *)b);
}

void pra__sort_strs(const pra_str **items, size_t count)
{
    pra__sort(items, count, sizeof(*items), compare_items, NULL);
}

static int make_set(pra_arena *arena, const struct list *values, struct pra__pattern *out)
{
    size_t n = values->count;
    const pra_str **sorted = pra_arena_alloc(arena, n * sizeof(*sorted), sizeof(void *));
    pra_str *set = pra_arena_alloc(arena, n * sizeof(*set), sizeof(void *));
    if (!sorted || !set)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &values->items[i];
    pra__sort_strs(sorted, n);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (count == 0 || !pra__str_equal(set[count - 1], *sorted[i]))
            set[count++] = *sorted[i];
    *out = (struct pra__pattern){set, count, NULL};
    return PRA_OK;
}

int pra__pattern_parse(pra_str pattern, pra_arena *arena, struct pra__pattern *out)
{
    struct parser ps = {pattern.ptr, pattern.ptr, arena, 64 * pattern.len + 4096, NULL, {0}, NULL};
    struct list values = {0};
    if (pattern.len) {
        ps.end += pattern.len;
        ps.text = pra_arena_alloc(arena, pattern.len, 1);
        ps.gaps = pra_arena_alloc(arena, pattern.len, 1);
        if (!ps.text || !ps.gaps)
            return PRA_ERR_NOMEM;
    }
    int rc = alternatives(&ps, 0, &values);
    if (rc)
        return rc;
    if (ps.literals.count == 0)
        return make_set(arena, &values, out);
    if (values.count > 1)
        return PRA_DONE;
    rc = push(&ps, &ps.literals, values.items[0]);
    *out = (struct pra__pattern){ps.literals.items, ps.literals.count, ps.gaps};
    return rc;
}

static int in_set(const struct pra__pattern *set, pra_str text)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = pra__str_compare(text, set->literals[middle]);
        if (order == 0)
            return 1;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

/* Each literal is looked for as early as it can be. A gap is counted in bytes: literals begin and
 * end between characters, so that one byte or more is one character or more. */
int pra__pattern_matches(const struct pra__pattern *pattern, pra_str text)
{
    if (!pattern->gaps)
        return in_set(pattern, text);
    const pra_str *literals = pattern->literals;
    size_t last = pattern->count - 1;
    if (!pra__str_starts_with(text, literals[0]))
        return 0;
    size_t pos = literals[0].len;
    for (size_t i = 1; i < last; i++) {
        pos += pattern->gaps[i - 1];
        if (pos >= text.len)
            return 0;
        const char *found =
            memmem(text.ptr + pos, text.len - pos, literals[i].ptr, literals[i].len);
        if (!found)
            return 0;
        pos = (size_t)(found - text.ptr) + literals[i].len;
    }
    pra_str tail = literals[last];
    return text.len >= pos + pattern->gaps[last - 1] + tail.len &&
           (tail.len == 0 || memcmp(text.ptr + text.len - tail.len, tail.ptr, tail.len) == 0);
}
