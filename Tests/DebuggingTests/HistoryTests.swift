import Debugging
import OffloadDevice
import Scratch
import Testing

/// GDB's packets of reverse execution, on a recording and on a live machine.
@Suite struct HistoryTests {
    /// A session without acknowledgements.
    private final class Client {
        var session: DebugSession
        private let sent = Sent()

        init(_ target: HistoryTarget) {
            target.attach {}
            session = DebugSession(target, transmit: sent.add)
            session.receive(encodePacket(Array("QStartNoAckMode".utf8)))
            _ = sent.take()
        }

        /// The answers to a packet, with the report of the stop that it leads to.
        func send(_ packet: String) -> [String] {
            session.receive(encodePacket(Array(packet.utf8)))
            return received()
        }

        /// The report of a stop, if there is one.
        func received() -> [String] {
            session.reportStop()
            return sent.takePackets()
        }

        func ask(_ packet: String) -> String { send(packet).last ?? "" }
        var pc: UInt32? { UInt32(ask("p20"), radix: 16)?.byteSwapped }
        func word(_ address: UInt64) -> UInt32? { UInt32(ask("m\(String(address, radix: 16)),4"), radix: 16)?.byteSwapped }
        func monitor(_ command: String) -> String {
            let hex = command.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            return send("qRcmd," + hex).dropLast().map { answer in
                let digits = Array(answer.utf8.dropFirst())
                return String(decoding: stride(from: 0, to: digits.count - 1, by: 2).map {
                    UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16) ?? 0
                }, as: UTF8.self)
            }.joined()
        }
    }

    private static func stepper(_ timeline: Timeline) -> Stepper { Stepper(timeline, firmware: nil, symbols: nil) }

    @Test func aRecording() throws {
        let folder = try TemporaryFolder()
        let client = Client(HistoryTarget(try Timeline(RecordedRun.record(in: folder, harts: 1)), makeStepper: Self.stepper))
        #expect(client.ask("qSupported").contains("ReverseStep+;ReverseContinue+"))
        #expect(client.ask("?") == "T02thread:1;")
        #expect(client.ask("bs") == "T05thread:1;replaylog:begin;", "nothing was before")
        #expect(client.ask("Z1,80000040,4") == "OK")
        for count: UInt32 in 0..<5 {
            #expect(client.ask("vCont;c") == "T05thread:1;hwbreak:;" && client.word(RecordedRun.counter) == count)
        }
        for count: UInt32 in (0..<4).reversed() {
            #expect(client.ask("bc") == "T05thread:1;hwbreak:;" && client.word(RecordedRun.counter) == count)
        }
        // Three instructions on, and back again.
        for pc: UInt32 in [0x8000_0044, 0x8000_0048, 0x8000_004c] { #expect(client.ask("vCont;s:1") == "T05thread:1;" && client.pc == pc) }
        for pc: UInt32 in [0x8000_0048, 0x8000_0044] { #expect(client.ask("bs") == "T05thread:1;" && client.pc == pc) }
        #expect(client.ask("z1,80000040,4") == "OK" && client.ask("Z2,80002000,4") == "OK")
        // It stops before the store, and GDB makes it by a step.
        #expect(client.ask("vCont;c") == "T05thread:1;watch:80002000;" && client.word(RecordedRun.counter) == 0)
        #expect(client.ask("vCont;c") == "T05thread:1;watch:80002000;" && client.pc == 0x8000_0044)
        #expect(client.word(RecordedRun.counter) == 1)
        #expect(client.ask("z2,80002000,4") == "OK" && client.ask("vCont;s:1") == "T05thread:1;" && client.ask("Z2,80002000,4") == "OK")
        #expect(client.word(RecordedRun.counter) == 2)
        // On the way back it stops behind the store, and GDB undoes that by a step.
        #expect(client.ask("bc") == "T05thread:1;watch:80002000;" && client.pc == 0x8000_0048)
        #expect(client.ask("bs") == "T05thread:1;" && client.pc == 0x8000_0044 && client.word(RecordedRun.counter) == 1)
        #expect(client.ask("z2,80002000,4") == "OK")
        #expect(client.ask("M80002000,4:00000000") == "E.the past can't be changed" && client.ask("P5=00000000").hasPrefix("E."))
        #expect(client.ask("vCont;c") == "T05thread:1;replaylog:end;")
        #expect(client.ask("bc") == "T05thread:1;replaylog:begin;")
        #expect(client.ask("bx") == "" && client.ask("b") == "")
    }

    @Test func monitorCommands() throws {
        let folder = try TemporaryFolder()
        let client = Client(HistoryTarget(try Timeline(RecordedRun.record(in: folder, harts: 1)), makeStepper: Self.stepper))
        #expect(client.monitor("next write ACLINT.MSIP[1]").contains("hart0"))
        #expect(client.pc != 0x8000_0000)
        #expect(client.monitor("who ACLINT.MSIP[1].msip").contains("0x0 -> 0x1"))
        #expect(client.monitor("goto 30us").contains("hart 0"))
        #expect(client.monitor("time").hasPrefix("cycle 30"))
        #expect(client.monitor("help").contains("goto PLACE") && client.monitor("reset").contains("can't be changed"))
        let writes = client.monitor("events 2 write ACLINT and initiator == hart0").split(separator: "\n")
        #expect(writes.count == 2 && writes.allSatisfy { $0.contains("hart0") && $0.contains("write") })
        #expect(client.monitor("events fault").isEmpty && client.monitor("events 3 bloc").contains("column"))
        #expect(client.monitor("next write NOTHING.AT").contains("NOTHING") && client.monitor("explode").contains("unknown command"))
    }

    /// Looking at the past changes nothing of the present, and after it the machine goes on.
    @Test func aLiveMachine() throws {
        let folder = try TemporaryFolder()
        var description = MachineDescription()
        description.memory.host = 1 << 20
        description.virtualFunctions.total = 1
        description.virtualFunctions.enabled = 0
        let machine = try Machine(description, pace: .lockstep)
        try machine.startRecording(folder: folder.path)
        try machine.loadFirmware(elf(RecordedRun.code))
        machine.advance(by: 20_000)
        let client = Client(HistoryTarget(machine, recordedIn: folder.path, makeStepper: Self.stepper))
        for round in 0..<3 {
            let (pc, count, now) = (client.pc, try #require(client.word(RecordedRun.counter)), machine.now)
            #expect(client.ask("Z1,80000040,4") == "OK")
            #expect(client.ask("bc") == "T05thread:1;hwbreak:;")
            #expect(client.ask("bc") == "T05thread:1;hwbreak:;" && (client.word(RecordedRun.counter) ?? 0) + 1 >= count - 1)
            #expect(machine.now == now && client.ask("M80002000,4:00000000").hasPrefix("E."), "round \(round)")
            #expect(client.ask("z1,80000040,4") == "OK")
            #expect(client.ask("vCont;c") == "T05thread:1;replaylog:end;")
            #expect(client.pc == pc && client.word(RecordedRun.counter) == count && machine.now == now, "the present again")
            // On with the machine itself.
            #expect(client.send("vCont;c") == [])
            machine.advance(by: 5000)
            client.session.receive([3])
            #expect(client.received() == ["T02thread:1;"])
            #expect(machine.now > now && (client.word(RecordedRun.counter) ?? 0) > count)
        }
    }
}
