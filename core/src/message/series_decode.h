/* SPDX-License-Identifier: Apache-2.0 */
/* What series of both versions of remote write have in common. */
#ifndef PRA_MESSAGE_SERIES_DECODE_H
#define PRA_MESSAGE_SERIES_DECODE_H

#include "message/decoder.h"

/* The value of a string field, as a place in the input. */
int pra__read_span(struct pra__decoder *d, uint32_t wire, pra_span *out);

/* Whether a label of the current series is within the limits, and whether their number is; start is
 * where the series begins. */
int pra__check_label(struct pra__decoder *d, const pra_label_span *label);
int pra__check_label_count(struct pra__decoder *d, const uint8_t *start, size_t count);

/* Takes samples in the usual shape (12 L 09 … 10 …), while there is room for them and eight bytes
 * can be loaded. */
void pra__take_plain_samples(struct pra__decoder *d);

/* One sample of any shape: the value of a field with this wire type. */
int pra__sample_decode(struct pra__decoder *d, uint32_t wire);

#endif
