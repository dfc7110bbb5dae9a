"""`DomainSet` and `CidrSet` as views of flat tables: the same membership, no objects per entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.matcher.domain_set import label_match
from mihomo_tproxy.matcher.domain_table import DomainTable, DomainTableBuilder
from mihomo_tproxy.matcher.range_table import AddressTable, write_addresses
from mihomo_tproxy.matcher.ranked import NO_VALUE, OneRank

if TYPE_CHECKING:
    from mihomo_tproxy.matcher.cidr_set import CidrSet
    from mihomo_tproxy.matcher.domain_set import DomainSet, Expression
    from mihomo_tproxy.matcher.domain_table import DomainLayout
    from mihomo_tproxy.matcher.range_table import AddressLayout
    from mihomo_tproxy.matcher.sections import Sections, SectionWriter

    FlatDomains = tuple[
        DomainLayout | None, tuple[str, ...], tuple[str, ...], tuple[Expression, ...]
    ]


def write_domain_set(writer: SectionWriter, domains: DomainSet) -> FlatDomains:
    """What `FlatDomainSet` is made of."""
    builder = DomainTableBuilder(OneRank())
    builder.add_set(domains, 0)
    return (
        builder.build(writer),
        tuple(domains.keywords),
        tuple(domains.wildcards),
        tuple(domains.expressions),
    )


def write_cidr_set(writer: SectionWriter, ranges: CidrSet) -> AddressLayout:
    """What `FlatCidrSet` is made of."""
    return write_addresses(writer, ((first, last, 0) for first, last in ranges.ranges()), OneRank())


class FlatDomainSet:
    """Membership of a name, as in `DomainSet`."""

    __slots__ = ("_expressions", "_keywords", "_table", "_wildcards")

    def __init__(self, sections: Sections, flat: FlatDomains) -> None:
        layout, self._keywords, self._wildcards, self._expressions = flat
        self._table = DomainTable(sections, layout) if layout is not None else None

    def __contains__(self, host: str) -> bool:
        if not host:
            return False
        if self._table is not None and self._table.hits(host):
            return True
        return (
            any(keyword in host for keyword in self._keywords)
            or any(label_match(pattern, host) for pattern in self._wildcards)
            or any(each.search(host) is not None for each in self._expressions)
        )


class FlatCidrSet:
    """Membership of an address key, as in `CidrSet`."""

    __slots__ = ("_table",)

    def __init__(self, sections: Sections, layout: AddressLayout) -> None:
        self._table = AddressTable(sections, layout)

    def __contains__(self, key: int) -> bool:
        return self._table.find(key) != NO_VALUE
