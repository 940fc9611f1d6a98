/* SPDX-License-Identifier: Apache-2.0 */
/* Reading arrays that others made. Types are looked at once; then each array is bound, which checks
 * its shape, and elements are read by their place in it, counted without the array's offset. The
 * lengths of buffers nobody tells: they are trusted, as everywhere in Arrow. */
#ifndef PRA_MESSAGE_ARROW_READ_H
#define PRA_MESSAGE_ARROW_READ_H

#include "pra_arrow.h"

/* All return PRA_OK or PRA_ERR_INVALID_ARG, with a message that begins with the column's name. */

/* "column X must be Y". */
int pra__arrow_wrong_type(const char *column, const char *must, pra_error *err);
/* "column X: what". */
int pra__arrow_broken(const char *column, const char *what, pra_error *err);

/* An array of which need elements are to be read: enough of them, children and buffers there. */
int pra__arrow_check(const struct ArrowArray *array, int64_t need, int64_t buffers,
                     int64_t children, const char *column, pra_error *err);

/* The bitmap of an array, or NULL where nothing is null. */
const uint8_t *pra__arrow_bitmap(const struct ArrowArray *array);

static inline int pra__arrow_is_null(const uint8_t *bitmap, int64_t i)
{
    return bitmap && !(bitmap[i / 8] >> i % 8 & 1);
}

/* ---- strings: utf8, large_utf8, string_view, or a dictionary of these */

struct pra__arrow_text_type {
    char layout; /* 'u', 'U', 'v'; 0: no strings */
    char index;  /* format of the numbers of a dictionary, or 0 */
};

struct pra__arrow_text {
    struct pra__arrow_text_type type;
    const char *column;
    const uint8_t *bitmap, *entry_bitmap;
    int64_t offset, entry_offset, entries; /* entry_…: of the dictionary, if there is one */
    const void *numbers;                   /* of a dictionary */
    const void *places;                    /* offsets or views */
    const char *bytes;
    const void *const *blocks; /* of views: bytes, and how many */
    const int64_t *block_sizes;
    int64_t block_count;
};

struct pra__arrow_text_type pra__arrow_text_type(const struct ArrowSchema *schema);
int pra__arrow_bind_text(struct pra__arrow_text *text, const struct ArrowArray *array, int64_t need,
                         pra_error *err);
/* Null is the empty string. *out is valid as long as the array. */
int pra__arrow_text_at(const struct pra__arrow_text *text, int64_t i, pra_str *out, pra_error *err);
/* 1 if elements i and j are the same string; 0 also where finding that out takes looking at more
 * than the numbers of a dictionary. */
int pra__arrow_text_same(const struct pra__arrow_text *text, int64_t i, int64_t j);

/* ---- numbers and times */

struct pra__arrow_numbers {
    char format; /* of Arrow; of times the unit: 's', 'm', 'u', 'n' */
    const char *column;
    const uint8_t *bitmap;
    int64_t offset;
    const void *data;
};

/* Format for values, or 0: no numbers. */
char pra__arrow_number_type(const struct ArrowSchema *schema);
/* Unit of times, or 0: no times. */
char pra__arrow_time_type(const struct ArrowSchema *schema);
int pra__arrow_bind_numbers(struct pra__arrow_numbers *n, const struct ArrowArray *array,
                            int64_t need, pra_error *err);
/* Elements [start, start + count); what stands below nulls may be anything. */
void pra__arrow_values(const struct pra__arrow_numbers *n, int64_t start, size_t count,
                       double *out);
/* The same as milliseconds; time before the epoch is rounded down as all other. */
int pra__arrow_times(const struct pra__arrow_numbers *n, int64_t start, size_t count, int64_t *out,
                     pra_error *err);

/* ---- lists: list, large_list, fixed_size_list, map */

struct pra__arrow_list_type {
    char layout;  /* 'l', 'L', 'w'; 0: no list */
    int64_t size; /* of 'w' */
};

struct pra__arrow_list {
    struct pra__arrow_list_type type;
    const char *column;
    const uint8_t *bitmap;
    int64_t offset;
    const void *offsets;
    int64_t items; /* elements of the child */
};

struct pra__arrow_list_type pra__arrow_list_type(const struct ArrowSchema *schema);
int pra__arrow_bind_list(struct pra__arrow_list *list, const struct ArrowArray *array, int64_t need,
                         pra_error *err);
/* Where the elements of list i are in the child. Null is the empty list. */
int pra__arrow_list_at(const struct pra__arrow_list *list, int64_t i, int64_t *start,
                       int64_t *count, pra_error *err);

#endif
