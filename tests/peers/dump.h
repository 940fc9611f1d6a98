/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded data as lines of text that the Go side can make too. */
#ifndef PRA_TESTS_PEERS_DUMP_H
#define PRA_TESTS_PEERS_DUMP_H

#include <pra.h>

/* Appends formatted text. */
void print(pra_buffer *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Every series of columns: "series", then a line per label, sample, histogram and exemplar; then
 * metadata. Strings are hexadecimal, floating point numbers are their bits. */
void dump_columns(pra_buffer *out, const pra_columns *columns);

#endif
