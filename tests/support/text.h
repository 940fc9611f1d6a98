/* SPDX-License-Identifier: Apache-2.0 */
/* Growing bytes and random numbers for tests. */
#ifndef TESTS_SUPPORT_TEXT_H
#define TESTS_SUPPORT_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Zero to begin with; data is NUL-terminated once there is any. */
struct text {
    char *data;
    size_t len;
    size_t cap;
};

void text_bytes(struct text *t, const void *bytes, size_t len);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "…" with everything but plain ASCII as \xNN. */
void text_quoted(struct text *t, const void *bytes, size_t len);
void text_append(struct text *t, const struct text *more);
void text_clear(struct text *t);
void text_free(struct text *t);

/* A whole file, or an empty text with data NULL. */
struct text text_of_file(const char *path);
/* Hexadecimal digits; blanks are skipped, and the rest of a line after '#'. */
struct text text_of_hex(const char *hex);

/* splitmix64: the same numbers everywhere for the same seed. */
uint64_t random_next(uint64_t *state);
/* In [0, below). */
size_t random_below(uint64_t *state, size_t below);

#endif
