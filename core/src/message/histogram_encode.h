/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_HISTOGRAM_ENCODE_H
#define PRA_MESSAGE_HISTOGRAM_ENCODE_H

#include "pra.h"

/* A Histogram message of PRA_WRITE_V1 or PRA_WRITE_V2 without its key and length: how many bytes it
 * takes, and writing it. */
size_t pra__histogram_size(const pra_columns *c, const pra_histogram *h, int version);
uint8_t *pra__put_histogram(uint8_t *p, const pra_columns *c, const pra_histogram *h, int version);

#endif
