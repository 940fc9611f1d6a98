/* SPDX-License-Identifier: Apache-2.0 */
#include "message/arrow_read.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"

int pra__arrow_wrong_type(const char *column, const char *must, pra_error *err)
{
    return pra__error(err, PRA_ERR_INVALID_ARG, 0, "column \"%.64s\" must be %s", column, must);
}

int pra__arrow_broken(const char *column, const char *what, pra_error *err)
{
    return pra__error(err, PRA_ERR_INVALID_ARG, 0, "column \"%.64s\": %s", column, what);
}

int pra__arrow_check(const struct ArrowArray *array, int64_t need, int64_t buffers,
                     int64_t children, const char *column, pra_error *err)
{
    if (array->length < need || array->offset < 0 || array->offset > INT64_MAX / 2 - need)
        return pra__arrow_broken(column, "the array is shorter than its table", err);
    int there = array->n_buffers >= buffers && array->n_children >= children &&
                (buffers == 0 || array->buffers);
    for (int64_t i = 0; there && i < children; i++)
        there = array->children && array->children[i];
    for (int64_t i = 1; there && need > 0 && i < buffers; i++)
        there = array->buffers[i] != NULL;
    return there ? PRA_OK : pra__arrow_broken(column, "the array is not of its type", err);
}

const uint8_t *pra__arrow_bitmap(const struct ArrowArray *array)
{
    return array->null_count == 0 || array->n_buffers < 1 ? NULL : array->buffers[0];
}

/* An integer of any type; of the unsigned 64-bit ones those that int64_t does not reach are
 * negative. */
static int64_t integer_at(char format, const void *data, int64_t i)
{
    switch (format) {
    case 'c':
        return ((const int8_t *)data)[i];
    case 'C':
        return ((const uint8_t *)data)[i];
    case 's':
        return ((const int16_t *)data)[i];
    case 'S':
        return ((const uint16_t *)data)[i];
    case 'i':
        return ((const int32_t *)data)[i];
    case 'I':
        return ((const uint32_t *)data)[i];
    default: /* 'l', 'L' */
        return ((const int64_t *)data)[i];
    }
}

/* One character of a set, alone. */
static char one_of(const char *format, const char *set)
{
    return format[0] && !format[1] && strchr(set, format[0]) ? format[0] : 0;
}

/* ---- strings */

struct pra__arrow_text_type pra__arrow_text_type(const struct ArrowSchema *schema)
{
    struct pra__arrow_text_type type = {0, 0};
    const struct ArrowSchema *values = schema->dictionary ? schema->dictionary : schema;
    if (schema->dictionary && !(type.index = one_of(schema->format, "cCsSiIlL")))
        return type;
    type.layout = strcmp(values->format, "vu") == 0 ? 'v' : one_of(values->format, "uU");
    if (values->dictionary)
        type.layout = 0;
    return type;
}

/* The strings themselves. */
static int bind_entries(struct pra__arrow_text *t, const struct ArrowArray *array, int64_t need,
                        pra_error *err)
{
    const int views = t->type.layout == 'v';
    /* without text there may be no buffer for it */
    int rc = pra__arrow_check(array, need, 2, 0, t->column, err);
    if (rc)
        return rc;
    if (array->n_buffers < 3)
        return pra__arrow_broken(t->column, "the array is not of its type", err);
    t->places = array->buffers[1];
    t->entry_offset = array->offset;
    t->entry_bitmap = pra__arrow_bitmap(array);
    t->entries = need;
    if (views) {
        t->block_count = array->n_buffers - 3;
        t->blocks = (const void *const *)array->buffers + 2;
        t->block_sizes = array->buffers[array->n_buffers - 1];
    } else {
        t->bytes = array->buffers[2];
    }
    return PRA_OK;
}

int pra__arrow_bind_text(struct pra__arrow_text *t, const struct ArrowArray *array, int64_t need,
                         pra_error *err)
{
    if (!t->type.index)
        return bind_entries(t, array, need, err);
    int rc = pra__arrow_check(array, need, 2, 0, t->column, err);
    if (rc)
        return rc;
    if (!array->dictionary || array->dictionary->length < 0)
        return pra__arrow_broken(t->column, "the dictionary is missing", err);
    t->bitmap = pra__arrow_bitmap(array);
    t->offset = array->offset;
    t->numbers = array->buffers[1];
    return bind_entries(t, array->dictionary, array->dictionary->length, err);
}

/* Views: 32 bits of length, then up to 12 bytes of text; or 4 bytes of text, the number of a block
 * and a place in it. */
static int view_at(const struct pra__arrow_text *t, int64_t i, pra_str *out, pra_error *err)
{
    const char *view = (const char *)t->places + i * 16;
    int32_t part[4]; /* length, text, block, place */
    memcpy(part, view, sizeof(part));
    *out = (pra_str){view + 4, (size_t)part[0]};
    if (part[0] >= 0 && part[0] <= 12)
        return PRA_OK;
    if (part[0] < 0 || part[2] < 0 || part[2] >= t->block_count || part[3] < 0 ||
        (int64_t)part[3] + part[0] > t->block_sizes[part[2]])
        return pra__arrow_broken(t->column, "a string is outside of its buffer", err);
    out->ptr = (const char *)t->blocks[part[2]] + part[3];
    return PRA_OK;
}

static int entry_at(const struct pra__arrow_text *t, int64_t i, pra_str *out, pra_error *err)
{
    int64_t start, end;
    i += t->entry_offset;
    *out = (pra_str){"", 0};
    if (pra__arrow_is_null(t->entry_bitmap, i))
        return PRA_OK;
    if (t->type.layout == 'v')
        return view_at(t, i, out, err);
    if (t->type.layout == 'u') {
        start = ((const int32_t *)t->places)[i];
        end = ((const int32_t *)t->places)[i + 1];
    } else {
        start = ((const int64_t *)t->places)[i];
        end = ((const int64_t *)t->places)[i + 1];
    }
    if (start < 0 || end < start || (end > start && !t->bytes))
        return pra__arrow_broken(t->column, "a string is outside of its buffer", err);
    if (end > start)
        *out = (pra_str){t->bytes + start, (size_t)(end - start)};
    return PRA_OK;
}

int pra__arrow_text_at(const struct pra__arrow_text *t, int64_t i, pra_str *out, pra_error *err)
{
    if (!t->type.index)
        return entry_at(t, i, out, err);
    i += t->offset;
    *out = (pra_str){"", 0};
    if (pra__arrow_is_null(t->bitmap, i))
        return PRA_OK;
    const int64_t number = integer_at(t->type.index, t->numbers, i);
    if (number < 0 || number >= t->entries)
        return pra__arrow_broken(t->column, "a number is outside of the dictionary", err);
    return entry_at(t, number, out, err);
}

int pra__arrow_text_same(const struct pra__arrow_text *t, int64_t i, int64_t j)
{
    pra_str a, b;
    if (t->type.index) {
        i += t->offset;
        j += t->offset;
        return !t->bitmap &&
               integer_at(t->type.index, t->numbers, i) == integer_at(t->type.index, t->numbers, j);
    }
    return entry_at(t, i, &a, NULL) == PRA_OK && entry_at(t, j, &b, NULL) == PRA_OK &&
           pra__str_equal(a, b);
}

/* ---- numbers and times */

char pra__arrow_number_type(const struct ArrowSchema *schema)
{
    return schema->dictionary ? 0 : one_of(schema->format, "cCsSiIlLefg");
}

char pra__arrow_time_type(const struct ArrowSchema *schema)
{
    const char *f = schema->format;
    if (schema->dictionary)
        return 0;
    if (strcmp(f, "l") == 0)
        return 'm';
    return f[0] == 't' && f[1] == 's' && f[2] && strchr("smun", f[2]) && f[3] == ':' ? f[2] : 0;
}

int pra__arrow_bind_numbers(struct pra__arrow_numbers *n, const struct ArrowArray *array,
                            int64_t need, pra_error *err)
{
    int rc = pra__arrow_check(array, need, 2, 0, n->column, err);
    if (rc)
        return rc;
    n->bitmap = pra__arrow_bitmap(array);
    n->offset = array->offset;
    n->data = array->buffers[1];
    return PRA_OK;
}

static double half_of(uint16_t half)
{
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    return half >> 15 ? -value : value;
}

void pra__arrow_values(const struct pra__arrow_numbers *n, int64_t start, size_t count, double *out)
{
    const int64_t first = n->offset + start;
    if (count == 0)
        return;
    if (n->format == 'g') {
        memcpy(out, (const double *)n->data + first, count * sizeof(*out));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const int64_t at = first + (int64_t)i;
        if (n->format == 'f')
            out[i] = (double)((const float *)n->data)[at];
        else if (n->format == 'e')
            out[i] = half_of(((const uint16_t *)n->data)[at]);
        else if (n->format == 'L')
            out[i] = (double)((const uint64_t *)n->data)[at];
        else
            out[i] = (double)integer_at(n->format, n->data, at);
    }
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int pra__arrow_times(const struct pra__arrow_numbers *n, int64_t start, size_t count, int64_t *out,
                     pra_error *err)
{
    const int64_t first = n->offset + start;
    const int64_t *time = n->data;
    if (count)
        memcpy(out, time + first, count * sizeof(*out));
    if (n->format == 'm')
        return PRA_OK;
    for (size_t i = 0; i < count; i++) {
        if (n->format != 's')
            out[i] = floor_div(out[i], n->format == 'u' ? 1000 : 1000000);
        else if (out[i] <= INT64_MAX / 1000 && out[i] >= INT64_MIN / 1000)
            out[i] *= 1000;
        else if (!pra__arrow_is_null(n->bitmap, first + (int64_t)i))
            return pra__arrow_broken(n->column, "a time is too far from now for milliseconds", err);
    }
    return PRA_OK;
}

/* ---- lists */

struct pra__arrow_list_type pra__arrow_list_type(const struct ArrowSchema *schema)
{
    struct pra__arrow_list_type type = {0, 0};
    const char *f = schema->format;
    if (schema->dictionary || schema->n_children != 1 || f[0] != '+')
        return type;
    if (strcmp(f, "+l") == 0 || strcmp(f, "+m") == 0)
        type.layout = 'l';
    else if (strcmp(f, "+L") == 0)
        type.layout = 'L';
    else if (f[1] == 'w' && f[2] == ':')
        type.layout = 'w';
    for (f += 3; type.layout == 'w' && *f; f++) {
        if (*f < '0' || *f > '9' || type.size > INT32_MAX / 10 - 1)
            return (struct pra__arrow_list_type){0, 0};
        type.size = type.size * 10 + (*f - '0');
    }
    return type;
}

int pra__arrow_bind_list(struct pra__arrow_list *l, const struct ArrowArray *array, int64_t need,
                         pra_error *err)
{
    int rc = pra__arrow_check(array, need, l->type.layout == 'w' ? 1 : 2, 1, l->column, err);
    if (rc)
        return rc;
    l->bitmap = pra__arrow_bitmap(array);
    l->offset = array->offset;
    l->offsets = l->type.layout == 'w' ? NULL : array->buffers[1];
    l->items = array->children[0]->length;
    return PRA_OK;
}

int pra__arrow_list_at(const struct pra__arrow_list *l, int64_t i, int64_t *start, int64_t *count,
                       pra_error *err)
{
    int64_t end;
    i += l->offset;
    *start = *count = 0;
    if (pra__arrow_is_null(l->bitmap, i))
        return PRA_OK;
    if (l->type.layout == 'w') {
        if (l->type.size && i >= l->items / l->type.size)
            return pra__arrow_broken(l->column, "a list is outside of its items", err);
        *start = i * l->type.size;
        end = *start + l->type.size;
    } else if (l->type.layout == 'l') {
        *start = ((const int32_t *)l->offsets)[i];
        end = ((const int32_t *)l->offsets)[i + 1];
    } else {
        *start = ((const int64_t *)l->offsets)[i];
        end = ((const int64_t *)l->offsets)[i + 1];
    }
    if (*start < 0 || end < *start || end > l->items)
        return pra__arrow_broken(l->column, "a list is outside of its items", err);
    *count = end - *start;
    return PRA_OK;
}
