import Presentation
import Testing

@Suite struct FigureTests {
    @Test func numbersKeepTheirWidth() {
        for (value, text) in [
            (0.0, "0"), (0.4, "0.4"), (9.94, "9.9"), (9.96, "10"), (983, "983"), (999.4, "999"), (999.6, "1.0k"), (12_345, "12.3k"),
            (99_960, "100k"), (999_499, "999k"), (4e9, "4.0G"), (2.5e15, "2.5P"),
        ] {
            #expect(short(value) == text)
        }
        #expect(short(.nan) == "-" && short(-1) == "-" && short(.infinity) == "-")
        #expect(decimal(-0.5, 1) == "-0.5" && decimal(1.005, 0) == "1" && decimal(2.0625, 3) == "2.063" && decimal(1e30, 1) == "1e+30")
        #expect(percent(UInt16(125)) == "12.5%" && bytes(1536) == "1.5 KiB" && duration(1.5e6) == "1.5 ms")
    }

    @Test func cutTextIsPrintableAndFits() {
        #expect("ab".cut(4) == "ab  " && "ab".cut(4, right: true) == "  ab" && "abcde".cut(4) == "abc>" && "abc".cut(0) == "")
        #expect("a\u{1b}[31m\u{7f}ö".cut(10) == "a?[31m??  ")
    }

    @Test func jsonIsEscaped() {
        let value = JSON.object([
            ("a\"b", .string("\\\n\u{1}")), ("n", .number(.max)), ("r", .real(0.0625)), ("f", .flag(true)), ("l", .array([.real(.nan)])),
        ])
        #expect(value.text == #"{"a\"b":"\\\n\u0001","n":18446744073709551615,"r":0.063,"f":true,"l":[null]}"#)
    }
}

@Suite struct TableTests {
    private let columns: [Table.Column] = [
        .init("name", 6, right: false), .init("one", 5, rank: 2), .init("two", 5, rank: 1), .init("three", 5),
    ]

    @Test func columnsThatMatterLeastAreLeftOutFirst() {
        let cells = ["vm1", "1", "2", "333333"]
        for (width, heading, row) in [
            (nil, "name     one   two three", "vm1        1     2 3333>"), (24, "name     one   two three", "vm1        1     2 3333>"),
            (23, "name     two three     ", "vm1        2 3333>     "), (17, "name   three     ", "vm1    3333>     "),
            (8, "name   >", "vm1    >"),
        ] as [(Int?, String, String)] {
            let table = Table(columns, width: width)
            #expect(table.heading == heading)
            #expect(table.line(cells) == row)
        }
    }
}

@Suite struct ExpositionTests {
    @Test func familiesHaveTypeHelpAndEscapedLabels() {
        var page = Exposition()
        page.add(.counter, "moves", "What\nmoved \\.", [.init(["owner": "a\"b\\c\nd"], 3), .init(["owner": "host"], .max)])
        page.add(.gauge, "share_ratio", "Share.", [.init([:], ratio: 0.125)])
        page.add(.gauge, "nothing", "Left out.", [])
        #expect(page.text == #"""
            # HELP outrigger_moves_total What\nmoved \\.
            # TYPE outrigger_moves_total counter
            outrigger_moves_total{owner="a\"b\\c\nd"} 3
            outrigger_moves_total{owner="host"} 18446744073709551615
            # HELP outrigger_share_ratio Share.
            # TYPE outrigger_share_ratio gauge
            outrigger_share_ratio 0.125

            """#)
    }

    @Test func bucketsOfHistogramsAreCumulated() {
        var page = Exposition()
        page.add("wait_seconds", "Waits.", [.init([("owner", "vm1")], buckets: [(0.5, 2), (1, 3)], beyond: 4, sum: 7.5)])
        #expect(page.text == """
            # HELP outrigger_wait_seconds Waits.
            # TYPE outrigger_wait_seconds histogram
            outrigger_wait_seconds_bucket{owner="vm1",le="0.5"} 2
            outrigger_wait_seconds_bucket{owner="vm1",le="1.0"} 5
            outrigger_wait_seconds_bucket{owner="vm1",le="+Inf"} 9
            outrigger_wait_seconds_sum{owner="vm1"} 7.5
            outrigger_wait_seconds_count{owner="vm1"} 9

            """)
    }
}
