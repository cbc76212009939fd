/* Static memory for a call that finds none: so no call on arrays of any layout ever fails half-way. */
#ifndef FL_RESERVE_H
#define FL_RESERVE_H

/* It holds FL_BLOCK doubles for every operand that a call can have. Another call that wants it waits. */
char *fl_take_reserve(void);
void fl_give_reserve(void);

#endif
