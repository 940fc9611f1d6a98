/* SPDX-License-Identifier: Apache-2.0 */
#include "message/arrow_rows.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/alloc.h"
#include "base/error.h"

enum { FIRST_SLOTS = 256, NONE = 0xffffffff };

/* Rows from start on, up to where the run behind it starts. */
struct run {
    uint32_t start;
    uint32_t next; /* of the series, or NONE */
};

/* Labels as text: name 0xFF value 0xFF …, a byte that no UTF-8 has. */
struct series {
    size_t text;
    size_t text_len;
    uint32_t label_count;
    uint32_t hash;
    uint32_t first_run;
    uint32_t last_run;
};

void pra__rows_init(struct pra__rows *r, const pra_alloc *alloc, uint64_t budget)
{
    *r = (struct pra__rows){.alloc = *alloc};
    r->budget = budget < SIZE_MAX ? (size_t)budget : SIZE_MAX;
}

static void release(struct pra__rows *r, struct pra__array *array, size_t size)
{
    pra__free(&r->alloc, array->data, array->cap * size);
}

void pra__rows_fini(struct pra__rows *r)
{
    release(r, &r->times, sizeof(int64_t));
    release(r, &r->values, sizeof(double));
    release(r, &r->runs, sizeof(struct run));
    release(r, &r->series, sizeof(struct series));
    release(r, &r->slots, sizeof(uint32_t));
    release(r, &r->text, 1);
    release(r, &r->labels, sizeof(pra_label));
    pra__label_set_fini(&r->set, &r->alloc);
}

static int over_budget(const struct pra__rows *r, pra_error *err)
{
    return pra__error(err, PRA_ERR_MEMORY_BUDGET, 0,
                      "the Arrow table takes more than the limit of %zu bytes; ask for less, or "
                      "raise max_memory_bytes (--limit.request-memory)",
                      r->budget);
}

int pra__rows_room(struct pra__rows *r, struct pra__array *a, size_t size, size_t extra,
                   pra_error *err)
{
    if (extra <= a->cap - a->len)
        return PRA_OK;
    /* the old and the new block both count while the allocator may hold both */
    const size_t most = (r->budget - r->held) / size;
    if (extra > most || a->len > most - extra)
        return over_budget(r, err);
    const size_t need = a->len + extra;
    size_t cap = a->cap < 8 ? 16 : a->cap * 2; /* no overflow: it is in memory */
    cap = cap < need ? need : cap;
    cap = cap > most ? most : cap;
    void *data = pra__realloc(&r->alloc, a->data, a->cap * size, cap * size);
    if (!data)
        return pra__nomem(err);
    r->held += (cap - a->cap) * size;
    a->data = data;
    a->cap = cap;
    return PRA_OK;
}

/* ---- series by their labels */

static struct series *series_at(const struct pra__rows *r, size_t i)
{
    return (struct series *)r->series.data + i;
}

static void occupy(struct pra__rows *r, uint32_t hash, size_t index)
{
    uint32_t *slots = r->slots.data;
    size_t i = hash & (r->slots.len - 1);
    while (slots[i])
        i = (i + 1) & (r->slots.len - 1);
    slots[i] = (uint32_t)index + 1;
}

/* So many slots that they are at most half full with one series more. */
static int make_slots(struct pra__rows *r, pra_error *err)
{
    const size_t count = r->slots.len ? r->slots.len * 2 : FIRST_SLOTS;
    if (r->series.len < r->slots.len / 2)
        return PRA_OK;
    int rc = pra__rows_room(r, &r->slots, sizeof(uint32_t), count - r->slots.len, err);
    if (rc)
        return rc;
    memset(r->slots.data, 0, count * sizeof(uint32_t));
    r->slots.len = count;
    for (size_t i = 0; i < r->series.len; i++)
        occupy(r, series_at(r, i)->hash, i);
    return PRA_OK;
}

/* Writes the labels of the set behind the text; its len does not cover them yet. */
static int write_text(struct pra__rows *r, size_t *len, pra_error *err)
{
    *len = 0;
    for (size_t i = 0; i < r->set.count; i++)
        *len += r->set.items[i].name.len + r->set.items[i].value.len + 2;
    int rc = pra__rows_room(r, &r->text, 1, *len, err);
    if (rc)
        return rc;
    char *p = *len ? (char *)r->text.data + r->text.len : NULL;
    for (size_t i = 0; i < r->set.count; i++) {
        const pra_str parts[] = {r->set.items[i].name, r->set.items[i].value};
        for (int j = 0; j < 2; j++) {
            memcpy(p, parts[j].ptr, parts[j].len);
            p += parts[j].len;
            *p++ = '\xFF';
        }
    }
    return PRA_OK;
}

static size_t find(const struct pra__rows *r, uint32_t hash, const char *text, size_t len)
{
    const uint32_t *slots = r->slots.data;
    for (size_t i = hash & (r->slots.len - 1); slots[i]; i = (i + 1) & (r->slots.len - 1)) {
        const struct series *s = series_at(r, slots[i] - 1);
        if (s->hash == hash && s->text_len == len &&
            (len == 0 || memcmp((const char *)r->text.data + s->text, text, len) == 0))
            return slots[i] - 1;
    }
    return NONE;
}

/* Number of the series with the labels of the set. */
static int series_of_set(struct pra__rows *r, size_t *out, pra_error *err)
{
    size_t len;
    int rc = make_slots(r, err);
    if (rc == PRA_OK)
        rc = write_text(r, &len, err);
    if (rc)
        return rc;
    const char *text = len ? (const char *)r->text.data + r->text.len : "";
    /* The seed differs from process to process: nobody can make labels that all meet in a slot. */
    const uint32_t hash = (uint32_t)XXH3_64bits_withSeed(text, len, (uintptr_t)r);
    *out = find(r, hash, text, len);
    if (*out != NONE)
        return PRA_OK;
    if (r->series.len >= NONE - 1)
        return over_budget(r, err);
    rc = pra__rows_room(r, &r->series, sizeof(struct series), 1, err);
    if (rc)
        return rc;
    *out = r->series.len++;
    *series_at(r, *out) = (struct series){.text = r->text.len,
                                          .text_len = len,
                                          .label_count = (uint32_t)r->set.count,
                                          .hash = hash,
                                          .first_run = NONE};
    r->text.len += len;
    occupy(r, hash, *out);
    return PRA_OK;
}

int pra__rows_begin_run(struct pra__rows *r, const pra_label *labels, size_t count, size_t row,
                        pra_error *err)
{
    size_t index;
    int rc = pra__label_set_make(&r->set, &r->alloc, labels, count, NULL, 0, err);
    if (rc == PRA_OK)
        rc = series_of_set(r, &index, err);
    if (rc == PRA_OK)
        rc = pra__rows_room(r, &r->runs, sizeof(struct run), 1, err);
    if (rc)
        return rc;
    if (row >= NONE)
        return over_budget(r, err);
    struct run *runs = r->runs.data;
    struct series *s = series_at(r, index);
    const uint32_t number = (uint32_t)r->runs.len++;
    runs[number] = (struct run){(uint32_t)row, NONE};
    if (s->first_run == NONE)
        s->first_run = number;
    else
        runs[s->last_run].next = number;
    s->last_run = number;
    return PRA_OK;
}

/* ---- out */

/* The labels of a series, out of its text. */
static int read_text(struct pra__rows *r, const struct series *s, pra_error *err)
{
    r->labels.len = 0;
    int rc = pra__rows_room(r, &r->labels, sizeof(pra_label), s->label_count, err);
    pra_label *labels = r->labels.data;
    if (rc || s->label_count == 0)
        return rc;
    const char *p = (const char *)r->text.data + s->text;
    const char *end = p + s->text_len;
    for (uint32_t i = 0; i < s->label_count * 2; i++) {
        const char *stop = memchr(p, 0xFF, (size_t)(end - p));
        *(i % 2 ? &labels[i / 2].value : &labels[i / 2].name) = (pra_str){p, (size_t)(stop - p)};
        p = stop + 1;
    }
    return PRA_OK;
}

static int push_series(struct pra__rows *r, const struct series *s, size_t rows,
                       pra_series_sink *sink, pra_error *err)
{
    const struct run *runs = r->runs.data;
    int rc = read_text(r, s, err);
    if (rc == PRA_OK)
        rc = pra_series_sink_begin(sink, r->labels.data, s->label_count, err);
    for (uint32_t i = s->first_run; rc == PRA_OK && i != NONE; i = runs[i].next) {
        const size_t start = runs[i].start;
        const size_t end = i + 1 < r->runs.len ? runs[i + 1].start : rows;
        rc = pra_series_sink_samples(sink, (const int64_t *)r->times.data + start,
                                     (const double *)r->values.data + start, end - start, err);
    }
    return rc ? rc : pra_series_sink_end(sink, err);
}

int pra__rows_push(struct pra__rows *r, size_t rows, pra_series_sink *sink, pra_error *err)
{
    int rc = PRA_OK;
    for (size_t i = 0; rc >= 0 && i < r->series.len; i++)
        rc = push_series(r, series_at(r, i), rows, sink, err);
    return rc;
}
