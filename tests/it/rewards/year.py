"""What everybody of a shop has, worked out from what was told: a second opinion, with nothing of the service's in it.

Reads a line of JSON for each thing that was done, in the order in which it was done. At each moment it writes a line:
what people have in each unit, as pending, available and paid.
"""

import json
import sys
from datetime import date, timedelta

HOLD_DAYS = 30


def earned(rule, left):
    """What a rule gives for what is left of an amount, or for something without one."""
    if left is None:
        return rule.get("fixed", 0)
    if left < rule.get("min_amount", 0):
        return 0
    if "fixed" in rule:
        return rule["fixed"] if left > 0 else 0
    share = left * rule["percent_bp"] // 10_000
    return min(share, rule.get("max", share))


class Shop:
    def __init__(self):
        self.today, self.began = 0, None
        self.rules = []
        self.joined, self.by = {}, {}
        self.purchases = {}
        self.pending = []
        self.balances = {}
        self.once, self.counts = set(), {}

    def balance(self, holder, unit):
        return self.balances.setdefault(holder, {}).setdefault(unit, [0, 0, 0])

    def span(self, per):
        today = self.began + timedelta(days=self.today)
        return {"day": today.isoformat(), "month": today.isoformat()[:7], "ever": ""}[per]

    def gives(self, kind, who, day, amount, unit):
        """Grants what the rules give for something, and returns the rewards."""
        rewards = []
        for rule in self.rules:
            if rule["on"] != kind:
                continue
            if "within_days" in rule and day - self.joined[who] >= rule["within_days"]:
                continue
            if "event_unit" in rule and rule["event_unit"] != unit:
                continue
            due = earned(rule, amount)
            if due == 0:
                continue
            holder = self.by[who] if rule["to"] == "referrer" else who
            if "limit" in rule:
                counted = (holder, rule["key"], self.span(rule["limit"]["per"]))
                if self.counts.get(counted, 0) >= rule["limit"]["count"]:
                    continue
            if rule.get("times", "first") == "first":
                if (who, rule["key"]) in self.once:
                    continue
                self.once.add((who, rule["key"]))
            if "limit" in rule:
                self.counts[counted] = self.counts.get(counted, 0) + 1
            reward = {
                "rule": rule,
                "holder": holder,
                "unit": rule.get("unit", unit),
                "left": due,
                "due": self.today + rule.get("hold_days", HOLD_DAYS),
                "place": 0,
            }
            self.balance(holder, reward["unit"])[0] += due
            self.pending.append(reward)
            rewards.append(reward)
        return rewards

    def people(self, people):
        for who, by in people:
            self.joined[who] = self.today
            if by is not None:
                self.by[who] = by
                self.gives("signup", who, self.today, None, None)

    def events(self, events):
        for event in sorted(events, key=lambda event: event["external_id"]):
            who = event["who"]
            if who in self.by and event["external_id"] not in self.purchases:
                rewards = self.gives("purchase", who, event["day"], event["amount"], event["unit"])
                self.purchases[event["external_id"]] = [event["amount"], rewards]

    def refund(self, refund):
        external_id, amount = refund
        purchase = self.purchases[external_id]
        purchase[0] -= purchase[0] if amount is None else amount
        assert purchase[0] >= 0
        for reward in purchase[1]:
            taken = reward["left"] - earned(reward["rule"], purchase[0])
            if taken > 0:
                reward["left"] -= taken
                self.balance(reward["holder"], reward["unit"])[reward["place"]] -= taken

    def day(self, day):
        self.today = day
        waiting = []
        for reward in self.pending:
            if reward["due"] > day:
                waiting.append(reward)
            else:
                reward["place"] = 1
                balance = self.balance(reward["holder"], reward["unit"])
                balance[0] -= reward["left"]
                balance[1] += reward["left"]
        self.pending = waiting

    def payout(self, payout):
        unit, least = payout
        for units in self.balances.values():
            if unit in units and units[unit][1] >= max(least, 1):
                units[unit][2] += units[unit][1]
                units[unit][1] = 0

    def tell(self):
        something = {}
        for holder, units in self.balances.items():
            units = {unit: amounts for unit, amounts in units.items() if any(amounts)}
            if units:
                something[holder] = units
        print(json.dumps(something))


def main():
    shop = Shop()
    for line in sys.stdin:
        [(what, about)] = json.loads(line).items()
        if what == "began":
            shop.began = date.fromisoformat(about)
        elif what == "rules":
            shop.rules = about
        elif what == "moment":
            shop.tell()
        else:
            getattr(shop, what)(about)


main()
