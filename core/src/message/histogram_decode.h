/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_HISTOGRAM_DECODE_H
#define PRA_MESSAGE_HISTOGRAM_DECODE_H

#include "message/decoder.h"

/* One Histogram message of either version: all that is left of the input, or the value of a field
 * with this wire type, appended to the columns. */
int pra__histogram_decode_bare(struct pra__decoder *d);
int pra__histogram_decode(struct pra__decoder *d, uint32_t wire);

#endif
