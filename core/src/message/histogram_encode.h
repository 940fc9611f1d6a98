/* SPDX-License-Identifier: Apache-2.0 */
/* A native histogram as a prometheus.Histogram: its size, then its bytes. */
#ifndef PRA_MESSAGE_HISTOGRAM_ENCODE_H
#define PRA_MESSAGE_HISTOGRAM_ENCODE_H

#include "pra.h"

/* Of the message without key and length; h is of c. */
size_t pra__histogram_size(const pra_columns *c, const pra_histogram *h);
uint8_t *pra__put_histogram(uint8_t *p, const pra_columns *c, const pra_histogram *h);

#endif
