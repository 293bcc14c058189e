/* How many points of an index space satisfy conditions. */
#ifndef ATTNC_COUNT_H
#define ATTNC_COUNT_H

#include "condition.h"

__extension__ typedef __int128 wide; /* counts; saturates at WIDE_MOST */
#define WIDE_MOST ((wide)1 << 120)

wide wide_add(wide a, wide b);
wide wide_multiply(wide a, wide b);

/* Does the count below take the conjunct for what it is, and not for true? */
bool count_knows(conditions *c, const condition *item);

/* Points of `space` (the product of the extents) in the set. Linear conjuncts and other conjuncts on indices are
 * counted exactly; a selection of K leaves at most K in a row; other conjuncts that read tensors count as true. *exact
 * becomes false where the exact count would take too long; then the number is an upper bound. */
wide count_points(conditions *c, index_set space, const condition_set *set, bool *exact);
#endif
