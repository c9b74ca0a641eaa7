"""The part of the outbox contract about transactions that a statement of the application ends."""

import contextlib

import pytest

import fait
from tests.outbox.clients import Client, Place, Placed


class EndedByHand:
    """Tests that neither a row nor an event remains alone; `OutboxContract` explains the attributes."""

    stores_on_add = True
    has_blocks = True

    @pytest.mark.parametrize("ends", ["ROLLBACK", "COMMIT", "ROLLBACK AND CHAIN", "COMMIT; BEGIN", "/**/ rollback"])
    @pytest.mark.parametrize("continues", [True, False])
    @pytest.mark.parametrize("in_block", [True, False])
    async def test_transaction_ended_by_sql_text_stores_row_and_event_or_neither(
        self, client: Client, place: Place, order: str, ends: str, continues: bool, in_block: bool
    ) -> None:
        if in_block:
            self._needs_blocks()

        async def change() -> None:
            await client.insert(order, 1)
            await client.add(Placed(1), stream=order)
            await client.execute(ends)
            if continues:
                await client.insert(f"{order}-b", 1)

        async def run() -> None:
            if in_block:
                async with client.transaction():
                    await change()
            else:
                await client.begin()
                await change()
                await client.commit()

        raised: Exception | None = None
        try:
            await run()
        except Exception as error:  # most libraries and drivers report it, each with an error of its own
            raised = error
        with contextlib.suppress(Exception):
            await client.rollback()

        row, events = await place.count(order), await place.events(order)
        if in_block and place.dialect == "postgresql" and self.stores_on_add:  # stores them at the end of the block
            assert isinstance(raised, fait.UsageError)
            assert "ended by hand, with COMMIT or ROLLBACK. The events were not stored" in str(raised)
            assert ("COMMIT" in ends, events) == (row is not None, [])
        else:
            assert self.stores_on_add or isinstance(raised, fait.UsageError)
            if in_block and ends in ("ROLLBACK", "COMMIT", "/**/ rollback"):  # SQLite does not accept the others
                assert isinstance(raised, fait.UsageError)
            assert (row is None, events) in [(True, []), (False, [("placed", 1, 1)])]

    @pytest.mark.parametrize("in_block", [True, False])
    async def test_savepoint_rolled_back_by_sql_text_stores_row_and_event_or_neither(
        self, client: Client, place: Place, order: str, in_block: bool
    ) -> None:
        if in_block:
            self._needs_blocks()

        async def change() -> None:
            await client.insert(f"{order}-b", 1)
            await client.execute("SAVEPOINT a")
            await client.insert(order, 1)
            await client.add(Placed(1), stream=order)
            await client.execute("ROLLBACK TO SAVEPOINT a")

        async def run() -> None:
            if in_block:
                async with client.transaction():
                    await change()
            else:
                await client.begin()
                await change()
                await client.commit()

        with contextlib.suppress(fait.UsageError):  # of SQLAlchemy's outbox, which buffers the event
            await run()
        with contextlib.suppress(Exception):
            await client.rollback()

        assert (await place.count(order), await place.events(order)) == (None, [])

    def _needs_blocks(self) -> None:
        if not self.has_blocks:
            pytest.skip("transactions of the library announce their end")
