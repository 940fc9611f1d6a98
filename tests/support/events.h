/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded messages as text, one line a datum; doubles by their bits. */
#ifndef TESTS_SUPPORT_EVENTS_H
#define TESTS_SUPPORT_EVENTS_H

#include "pra.h"
#include "support/text.h"

void events_label(struct text *t, const char *indent, pra_str name, pra_str value);
/* Without the start timestamp if it is 0. */
void events_sample(struct text *t, int64_t timestamp_ms, uint64_t value_bits, int64_t start_ms);
void events_exemplar(struct text *t, int64_t timestamp_ms, uint64_t value_bits);
/* Without the buckets. */
void events_histogram(struct text *t, const pra_histogram *h);
void events_metadata(struct text *t, int32_t type, pra_str family, pra_str help, pra_str unit);
/* Of a series. */
void events_described(struct text *t, int32_t type, pra_str help, pra_str unit);
uint64_t bits_of(const double *value);

/* Series [first, end) of columns. */
void events_series(struct text *t, const pra_columns *c, size_t first, size_t end);
/* All series, then metadata of families. */
void events_columns(struct text *t, const pra_columns *c);
void events_read_request(struct text *t, const pra_read_request *req);
void events_read_response(struct text *t, const pra_read_response *resp);
/* One query; the pieces of a read request as the oracle meets them. */
void events_matcher(struct text *t, int32_t type, pra_str name, pra_str value);
void events_hints(struct text *t, const pra_read_hints *h);

/* Takes out lines that have text in them, or only text and what follows up to the next space. */
void events_strike(struct text *t, const char *text, int only_text);

#endif
