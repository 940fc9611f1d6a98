/* SPDX-License-Identifier: Apache-2.0 */
/* Series of remote write 2.0 in the usual shape: labels in one packed field (0a L …), samples, and
 * metadata (2a L …) or none, in this order, all numbers of one or two bytes. */
#ifndef PRA_MESSAGE_WRITE_V2_PLAIN_H
#define PRA_MESSAGE_WRITE_V2_PLAIN_H

#include "message/decoder.h"

/* Takes such series, while there is room for them; longest is the length of the longest symbol.
 * None where that is too long for a label, nor where symbol 0, that of what is not set, is a text.
 */
void pra__write_v2_plain(struct pra__decoder *d, size_t longest);

#endif
