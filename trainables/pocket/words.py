"""The words of the pocket world: people, places, days and things, written for this project and shared by all splits."""

from __future__ import annotations

NAMES: tuple[str, ...] = (
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Greta", "Henry", "Ivy", "Jack", "Kate", "Leo",
    "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Zoe", "Adam", "Bella",
    "Chris", "Diana", "Eric", "Fiona", "George", "Hanna", "Ian", "Julia", "Karl", "Laura", "Mark", "Nina",
    "Oscar", "Peter", "Ruth", "Simon", "Tom", "Vera", "Ralf", "Alice", "Bruno", "Clara", "Dan", "Elsa",
)  # fmt: skip

DAYS: tuple[str, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

TIMES: tuple[str, ...] = (
    "noon", "1 pm", "2 pm", "3 pm", "4 pm", "5 pm", "6 pm", "7 pm", "8 pm", "9 pm", "9 am", "10 am", "11 am",
)  # fmt: skip

PLACES: tuple[str, ...] = (
    "the park", "the library", "the station", "the gym", "the museum", "the bakery", "the pool", "the market",
    "the bridge", "the harbour", "the cinema", "the school", "the hotel", "the office", "the stadium",
    "the theatre", "the church", "the mall", "the garden", "the beach", "the lake", "the diner", "the garage",
    "the clinic",
)  # fmt: skip

ACTS: tuple[str, ...] = (
    "play tennis", "play chess", "go running", "go swimming", "have lunch", "have coffee", "study maths",
    "practise the song", "plan the trip", "watch the match", "take photos", "go skating", "eat pizza",
    "rehearse the play", "learn Spanish", "ride bikes", "fly kites", "draw maps",
)  # fmt: skip

ERRANDS: tuple[str, ...] = (
    "water the plants", "feed the cat", "walk the dog", "pick up the parcel", "collect the cake",
    "fix the printer", "return the books", "buy the tickets", "wash the van", "paint the fence",
    "clean the kitchen", "book the hotel", "call the landlord", "drive grandpa home", "order the chairs",
    "print the flyers", "repair the sink", "post the letter",
)  # fmt: skip

# What somebody has, and so has no time: after "I have" in a chat, after "has" in a summary.
BUSY: tuple[str, ...] = (
    "a dentist appointment", "a night shift", "an exam", "a piano lesson", "a job interview", "a football match",
    "a headache", "a fever", "a family dinner", "a doctor appointment", "a dance class", "a sore throat",
    "a deadline", "visitors",
)  # fmt: skip

EVENTS: tuple[str, ...] = (
    "the concert", "the party", "the picnic", "the wedding", "the barbecue", "the book fair", "the quiz night",
    "the film night", "the camping trip", "the boat trip", "the street fair", "the yoga class", "the garden sale",
    "the poetry night",
)  # fmt: skip

BRINGS: tuple[str, ...] = (
    "a cake", "some juice", "a salad", "a guitar", "some games", "a blanket", "some cookies", "a camera",
    "some bread", "a tent", "some cheese", "a lemon pie",
)  # fmt: skip

# In the past tense and free of pronouns, so that they stand after "I" as well as after a name.
NEWS: tuple[str, ...] = (
    "got a job at the bank", "bought a used car", "passed the driving test", "won the chess cup",
    "adopted a puppy", "broke an arm", "sold the old bike", "found a new flat", "failed the maths exam",
    "quit the band", "learned to surf", "missed the last train", "lost the race", "finished the novel",
    "met the mayor", "crashed the scooter",
)  # fmt: skip

ITEMS: tuple[str, ...] = (
    "wallet", "phone", "umbrella", "scarf", "notebook", "laptop", "jacket", "ring", "passport", "camera",
    "bag", "watch", "hat", "charger",
)  # fmt: skip

GIFTS: tuple[str, ...] = (
    "a board game", "a cookbook", "a lamp", "a teapot", "a backpack", "a necklace", "a plant", "a puzzle",
    "a poster", "a kite", "a vase", "a drum",
)  # fmt: skip

TOOLS: tuple[str, ...] = (
    "drill", "ladder", "tent", "bike", "van", "trailer", "projector", "sewing machine", "lawn mower", "suitcase",
    "grill", "guitar",
)  # fmt: skip

FOODS: tuple[str, ...] = (
    "pasta", "curry", "soup", "tacos", "pancakes", "risotto", "dumplings", "fish", "lasagna", "stew", "noodles",
    "burgers",
)  # fmt: skip

DELAYS: tuple[str, ...] = (
    "the bus broke down", "the train was late", "the car would not start", "the road was closed",
    "the meeting ran over", "the bike got a flat tyre", "the ferry was cancelled", "the tram got stuck",
    "the dog ran away", "the alarm did not ring",
)  # fmt: skip

MEETINGS: tuple[str, ...] = (
    "the team meeting", "the exam", "the rehearsal", "the training", "the workshop", "the choir practice",
    "the lecture", "the interview", "the demo", "the art class", "the house tour", "the science club",
)  # fmt: skip

# Single words as people type them in a hurry: applied to a share of the chats, never to names or facts.
CASUAL: tuple[tuple[str, str], ...] = (
    ("you", "u"), ("are", "r"), ("please", "pls"), ("thanks", "thx"), ("okay", "ok"), ("great", "grat"),
    ("really", "realy"), ("sorry", "sory"), ("and", "n"), ("because", "bc"), ("sure", "shure"),
    ("definitely", "definately"), ("what", "wat"),
)  # fmt: skip

# The name of a fact slot, the words it is drawn from, and how many different ones a scene may use.
FACT_WORDS: dict[str, tuple[tuple[str, ...], int]] = {
    "day": (DAYS, 2),
    "time": (TIMES, 2),
    "place": (PLACES, 2),
    "act": (ACTS, 1),
    "errand": (ERRANDS, 1),
    "busy": (BUSY, 1),
    "event": (EVENTS, 1),
    "bring": (BRINGS, 2),
    "news": (NEWS, 1),
    "item": (ITEMS, 1),
    "gift": (GIFTS, 2),
    "tool": (TOOLS, 1),
    "food": (FOODS, 2),
    "delay": (DELAYS, 1),
    "meeting": (MEETINGS, 1),
}
