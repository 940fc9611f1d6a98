/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_HISTOGRAM_DECODE_H
#define PRA_MESSAGE_HISTOGRAM_DECODE_H

#include "message/decoder.h"

/* One prometheus.Histogram: the value of a field with this wire type, appended to the columns. */
int pra__histogram_decode(struct pra__decoder *d, uint32_t wire);

#endif
