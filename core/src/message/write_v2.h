/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_WRITE_V2_H
#define PRA_MESSAGE_WRITE_V2_H

#include "message/decoder.h"

/* A whole io.prometheus.write.v2.Request. */
int pra__write_v2_decode(struct pra__decoder *d);

#endif
