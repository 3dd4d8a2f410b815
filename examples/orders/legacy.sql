-- The legacy store of the example: PostgreSQL, run in database shop as the owner of its tables.
CREATE TABLE public.orders (
  id     bigint PRIMARY KEY,
  state  text NOT NULL,
  amount numeric(12, 2) NOT NULL,
  placed timestamptz(3) NOT NULL,
  note   text
);

-- The log then carries the whole row before an update or a delete, so Trueup can tell a write that changes nothing
-- from one that it has missed, and no value that is stored out of line is left out.
ALTER TABLE public.orders REPLICA IDENTITY FULL;
